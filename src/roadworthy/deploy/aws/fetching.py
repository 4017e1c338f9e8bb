"""What a machine does with its role: fetch a release or a secret, and tell of itself.

    python3 fetching.py REGION s3 BUCKET/KEY FILE
    python3 fetching.py REGION secret NAME FILE
    python3 fetching.py REGION logs GROUP UNITS CURSOR
    python3 fetching.py REGION metrics NAMESPACE

It runs by the system's Python alone, from user data. Requests are signed by Signature Version 4
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html), with
the credentials that the machine's own metadata service (IMDSv2) hands out.
"""

import datetime
import hashlib
import hmac
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

META = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or "http://169.254.169.254"


def meta(path: str) -> str:
    """What the machine's metadata service says."""
    ask = urllib.request.Request(
        META + "/latest/api/token", method="PUT",
        headers={"X-aws-ec2-metadata-token-ttl-seconds": "300"},
    )  # fmt: skip
    with urllib.request.urlopen(ask, timeout=10) as answer:
        token = answer.read().decode()
    ask = urllib.request.Request(
        META + "/latest/meta-data/" + path, headers={"X-aws-ec2-metadata-token": token}
    )
    with urllib.request.urlopen(ask, timeout=10) as answer:
        return str(answer.read(), "utf-8")


def send(
    region: str, service: str, method: str, path: str, body: bytes = b"", *, target: str = "",
    bucket: str = "",
) -> Any:  # fmt: skip
    """An answer of AWS to a signed request."""
    role = meta("iam/security-credentials/").split()[0]
    who = json.loads(meta("iam/security-credentials/" + role))
    end = os.environ.get("AWS_ENDPOINT_URL")
    if end:
        url, path = end, ("/" + bucket if bucket else "") + path
    else:
        suffix = ".cn" if region.startswith("cn-") else ""
        url = f"https://{bucket and bucket + '.'}{service}.{region}.amazonaws.com{suffix}"
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {
        "host": url.split("//")[1], "x-amz-content-sha256": digest, "x-amz-date": now,
        "x-amz-security-token": who["Token"],
    }  # fmt: skip
    if target:
        headers |= {"content-type": "application/x-amz-json-1.1", "x-amz-target": target}
    elif method == "POST":
        headers |= {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    names = ";".join(sorted(headers))
    lines = [method, path, ""] + [f"{key}:{value}" for key, value in sorted(headers.items())]
    text = "\n".join([*lines, "", names, digest])
    scope = f"{now[:8]}/{region}/{service}/aws4_request"
    said = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(text.encode()).hexdigest()])
    key = ("AWS4" + who["SecretAccessKey"]).encode()
    for each in [*scope.split("/"), said]:
        key = hmac.new(key, each.encode(), "sha256").digest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={who['AccessKeyId']}/{scope}, "
        f"SignedHeaders={names}, Signature={key.hex()}"
    )
    ask = urllib.request.Request(url + path, body or None, headers, method=method)
    return urllib.request.urlopen(ask, timeout=60)


def fetch(region: str, place: str, file: str) -> None:
    """Write an object of a bucket to a file."""
    bucket, _, key = place.removeprefix("s3://").partition("/")
    with send(region, "s3", "GET", "/" + key, bucket=bucket) as answer, open(file, "wb") as sink:
        shutil.copyfileobj(answer, sink)


def secret(region: str, name: str, file: str) -> None:
    """Write a secret to a file that only root reads."""
    body = json.dumps({"SecretId": name}).encode()
    with send(
        region, "secretsmanager", "POST", "/", body, target="secretsmanager.GetSecretValue"
    ) as said:
        text = json.load(said)["SecretString"]
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as sink:
        sink.write(text)


def logs(region: str, group: str, units: str, cursor: str) -> None:
    """Send what the journal has of some units, as it comes, for ever."""
    machine, put = meta("instance-id"), "Logs_20140328."
    name = {"logGroupName": group, "logStreamName": machine}
    try:
        send(region, "logs", "POST", "/", json.dumps(name).encode(), target=put + "CreateLogStream")
    except urllib.error.HTTPError as error:
        if b"AlreadyExists" not in error.read():
            raise
    command = ["journalctl", "-q", "-o", "json", "--cursor-file", cursor + ".new", "-u", units]
    while True:
        if os.path.exists(cursor):
            shutil.copyfile(cursor, cursor + ".new")
        read = subprocess.run(command, capture_output=True, check=True).stdout
        events = [
            {"timestamp": int(one["__REALTIME_TIMESTAMP"]) // 1000, "message": text}
            for one in map(json.loads, read.splitlines())
            if (text := str(one.get("MESSAGE") or "")[:8000])
        ]
        for start in range(0, len(events), 100):
            part = json.dumps(name | {"logEvents": events[start : start + 100]}).encode()
            send(region, "logs", "POST", "/", part, target=put + "PutLogEvents").close()
        if os.path.exists(cursor + ".new"):
            os.replace(cursor + ".new", cursor)
        time.sleep(5)


def usage(before: tuple[int, int]) -> tuple[tuple[int, int], dict[str, float]]:
    """Processor time, all and idle, till now; what is used since then, in percent."""
    with open("/proc/stat") as source:
        times = [int(each) for each in source.readline().split()[1:9]]
    now = sum(times), times[3] + times[4]
    with open("/proc/meminfo") as source:
        memory = {line.split(":")[0]: int(line.split()[1]) for line in source}
    disk, passed = os.statvfs("/"), max(1, now[0] - before[0])
    free = {
        "cpu": (now[1] - before[1]) / passed,
        "memory": memory["MemAvailable"] / memory["MemTotal"],
        "disk": disk.f_bavail / disk.f_blocks,
    }
    return now, {key: 100.0 * min(1.0, max(0.0, 1.0 - each)) for key, each in free.items()}


def metrics(region: str, namespace: str) -> None:
    """Send how busy the machine is, once by itself and once among all, every minute for ever.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
    """
    machine, pause = meta("instance-id"), 5.0
    before, _ = usage((0, 0))
    while True:
        time.sleep(pause)
        before, used = usage(before)
        form = {"Action": "PutMetricData", "Version": "2010-08-01", "Namespace": namespace}
        for number, (name, percent) in enumerate([*used.items(), *used.items()], 1):
            one = f"MetricData.member.{number}."
            form |= {one + "MetricName": f"machine_{name}_percent", one + "Unit": "Percent",
                     one + "Value": f"{percent:.3f}"}  # fmt: skip
            if number > len(used):
                by = one + "Dimensions.member.1."
                form |= {by + "Name": "InstanceId", by + "Value": machine}
        body = urllib.parse.urlencode(form).encode()
        send(region, "monitoring", "POST", "/", body).close()
        pause = 60.0


if __name__ == "__main__":
    work, given = sys.argv[2], [sys.argv[1], *sys.argv[3:]]
    if work == "s3":
        fetch(*given)
    elif work == "secret":
        secret(*given)
    elif work == "metrics":
        metrics(*given)
    else:
        logs(*given)
