"""How a job hands a cloud's libraries the token that its CI system gave it.

AWS and Azure read the names of a file and a role from variables; Google reads a file that says
where the token is. All three are the clouds' own formats for workload identity federation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_GOOGLE = (
    '{"type":"external_account","audience":"//iam.googleapis.com/%s",'
    '"subject_token_type":"urn:ietf:params:oauth:token-type:jwt",'
    '"token_url":"https://sts.googleapis.com/v1/token",'
    '"service_account_impersonation_url":"https://iamcredentials.googleapis.com/v1/projects/-/'
    'serviceAccounts/%s:generateAccessToken","credential_source":{"file":"%s"}}'
)


def token_variables(clouds: Sequence[str], folder: str) -> dict[str, str]:
    """Where the clouds' libraries find the tokens.

    Args:
        clouds: The clouds.
        folder: The folder of tokens, as a text for the shell.
    """
    names = {
        "aws": {"AWS_WEB_IDENTITY_TOKEN_FILE": f"{folder}/aws"},
        "azure": {"AZURE_FEDERATED_TOKEN_FILE": f"{folder}/azure"},
        "gcp": {"GOOGLE_APPLICATION_CREDENTIALS": f"{folder}/gcp.json"},
    }
    return {key: value for cloud in clouds for key, value in names[cloud].items()}


def token_lines(tokens: Mapping[str, str], folder: str) -> list[str]:
    """Lines that put tokens into files which nobody else may read.

    Args:
        tokens: For each cloud the variable that holds its token.
        folder: The folder for them.
    """
    if not tokens:
        return []
    lines = [f'umask 077 && mkdir -p "{folder}"']
    lines += [f'printf \'%s\' "{value}" > "{folder}/{cloud}"' for cloud, value in tokens.items()]
    if "gcp" in tokens:
        lines.append(google_line(f"{folder}/gcp", f"{folder}/gcp.json"))
    return lines


def google_line(token: str, credentials: str) -> str:
    """The line that tells Google's libraries where the token is.

    Args:
        token: The file that holds it, as a text for the shell.
        credentials: The file to write, likewise.
    """
    return (
        f'printf \'{_GOOGLE}\' "$GCP_IDENTITY_PROVIDER" "$GCP_SERVICE_ACCOUNT" '
        f'"{token}" > "{credentials}"'
    )
