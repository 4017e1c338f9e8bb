"""The words of declarative pipelines: which sections hold what, and what steps take.

Sources: Jenkins' pipeline syntax reference and its reference of steps.
"""

from __future__ import annotations

_STAGE = (
    "agent", "environment", "failFast", "input", "matrix", "options", "parallel", "post", "stages",
    "steps", "tools", "when",
)  # fmt: skip
_CONDITIONS = (
    "allOf", "anyOf", "beforeAgent", "beforeInput", "beforeOptions", "branch", "buildingTag",
    "changelog", "changeRequest", "changeset", "environment", "equals", "expression",
    "isRestartedRun", "not", "tag", "triggeredBy",
)  # fmt: skip

SECTIONS: dict[str, tuple[str, ...]] = {
    "pipeline": (
        "agent", "environment", "libraries", "options", "parameters", "post", "stages", "tools",
        "triggers",
    ),
    "stages": ("stage",),
    "parallel": ("stage",),
    "stage": _STAGE,
    "matrix": ("agent", "axes", "environment", "excludes", "input", "options", "post", "stages",
               "tools", "when"),
    "axes": ("axis",),
    "axis": ("name", "notValues", "values"),
    "post": (
        "aborted", "always", "changed", "cleanup", "failure", "fixed", "notBuilt", "regression",
        "success", "unstable", "unsuccessful",
    ),
    "when": _CONDITIONS,
    "allOf": _CONDITIONS,
    "anyOf": _CONDITIONS,
    "not": _CONDITIONS,
    "input": ("id", "message", "ok", "parameters", "submitter", "submitterParameter"),
    "parameters": (
        "booleanParam", "choice", "credentials", "file", "password", "string", "text",
    ),
    "triggers": ("cron", "githubPush", "pollSCM", "upstream"),
    "agent": ("any", "docker", "dockerfile", "kubernetes", "label", "node", "none"),
}  # fmt: skip

STEPS: dict[str, tuple[str, ...]] = {
    "archiveArtifacts": (
        "allowEmptyArchive", "artifacts", "caseSensitive", "defaultExcludes", "excludes",
        "fingerprint", "followSymlinks", "onlyIfSuccessful",
    ),
    "booleanParam": ("defaultValue", "description", "name"),
    "buildDiscarder": (),
    "catchError": ("buildResult", "catchInterruptions", "message", "stageResult"),
    "checkout": ("changelog", "poll", "scm"),
    "choice": ("choices", "description", "name"),
    "cleanWs": ("cleanWhenAborted", "cleanWhenFailure", "cleanWhenNotBuilt", "cleanWhenSuccess",
                "cleanWhenUnstable", "deleteDirs", "disableDeferredWipeout", "notFailBuild",
                "patterns"),
    "deleteDir": (),
    "dir": ("path",),
    "disableConcurrentBuilds": ("abortPrevious",),
    "echo": ("message",),
    "error": ("message",),
    "fileExists": ("file",),
    "input": ("id", "message", "ok", "parameters", "submitter", "submitterParameter"),
    "junit": (
        "allowEmptyResults", "checksName", "healthScaleFactor", "keepLongStdio",
        "keepProperties", "keepTestNames", "skipMarkingBuildUnstable", "skipPublishingChecks",
        "stdioRetention", "testDataPublishers", "testResults",
    ),
    "lock": ("extra", "inversePrecedence", "label", "priority", "quantity", "resource",
             "resourceSelectStrategy", "skipIfLocked", "variable"),
    "mail": ("bcc", "body", "cc", "charset", "from", "mimeType", "replyTo", "subject", "to"),
    "milestone": ("label", "ordinal"),
    "publishChecks": ("actions", "annotations", "conclusion", "detailsURL", "name", "status",
                      "summary", "text", "title"),
    "readFile": ("encoding", "file"),
    "retry": ("conditions", "count"),
    "script": (),
    "sh": ("encoding", "label", "returnStatus", "returnStdout", "script"),
    "sleep": ("time", "unit"),
    "stash": ("allowEmpty", "excludes", "includes", "name", "useDefaultExcludes"),
    "string": ("credentialsId", "defaultValue", "description", "name", "trim", "variable"),
    "timeout": ("activity", "time", "unit"),
    "unstable": ("message",),
    "unstash": ("name",),
    "warnError": ("catchInterruptions", "message"),
    "withCredentials": ("bindings",),
    "withEnv": ("overrides",),
    "writeFile": ("encoding", "file", "text"),
}  # fmt: skip
