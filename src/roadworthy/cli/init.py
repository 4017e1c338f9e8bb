"""`roadworthy init`: a commented project file from a table."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from roadworthy.cli.options import Json, Query
from roadworthy.cli.output import print_json
from roadworthy.errors import InputError
from roadworthy.project import FILE_NAME, Project, load_project
from roadworthy.project.data import refuse_password, shown


def init(
    data: Annotated[
        str,
        typer.Argument(
            help="CSV or Parquet file; postgresql://HOST/DB#TABLE, sqlite:///FILE#TABLE."
        ),
    ],
    target: Annotated[str, typer.Option("--target", help="The column to predict.")],
    query: Query = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json: Json = False,
) -> None:
    """Write a commented roadworthy.toml for a table.

    Example: `roadworthy init adult.csv --target income`
    """
    from roadworthy.table import read_table

    file = Path(FILE_NAME)
    if file.exists() and not force:
        raise InputError("the project file exists already", where=FILE_NAME, fix="--force")
    refuse_password(data)
    table = read_table(data, target, project=Project().override("data", query=query))
    columns = "\n".join(
        f"# {_quote(p.name)} = {{ kind = {_quote(p.kind)} }}  # {p.reason}" for p in table.profiles
    )
    path = _quote(data) + (f"\nquery = {_quote(query)}" if query else "")
    text = _TEMPLATE.format(
        name=_quote(table.name), path=path, target=_quote(target), columns=columns
    )
    with tempfile.NamedTemporaryFile("w", dir=".", delete=False, encoding="utf-8") as draft:
        draft.write(text)
    Path(draft.name).chmod(0o644)
    Path(draft.name).replace(file)
    load_project(file)
    if json:
        print_json({"project": str(file), "columns": len(table.profiles)})
    else:
        typer.echo(f"{FILE_NAME} written: {len(table.profiles)} columns of {shown(data)}")


def _quote(text: str) -> str:
    return msgspec.json.encode(text).decode()  # a JSON string is a TOML basic string


_TEMPLATE = """\
# What Roadworthy does with this table. Every key may be left out: what stands behind # is the
# default. ROADWORTHY_SECTION_KEY in the environment overrides a key.

[project]
name = {name}

[data]
path = {path}
target = {target}
# query = "SELECT …"         # what is read where path is a database without #TABLE; or query_file
# task = "auto"              # auto, binary, multiclass, regression
# holdout = 0.2              # share of rows that no choice looks at
# split = "auto"             # a date column holds out the newest rows; or random, group, time
# group = "customer_id"      # rows of one group stay together
# time = "date"              # the column that orders the rows in time
# weight = "weight"          # column of row weights; it is no feature
# sample_rows = 0            # rows of a file to train on, at random; 0: all that fit into memory
# drop = []                  # columns to leave out
# delimiter = ","            # found out when left out; so are encoding and header
# blanks = ["", "na", "n/a", "nan", "null", "none", "?"]

[data.columns]
# What each column is taken for; take the # away to change it. Kinds: number, category, boolean,
# date, text, identifier, constant. Also: blank = "error", unseen = "error",
# date_format = "%d.%m.%Y"
{columns}

[guard]
# checks = "all"             # or "off", or a list like ["leakage", "duplicates"]
# acknowledge = []           # findings that are known, like ["leakage:boat", "duplicates"]

[prepare]
# number_impute = "auto"     # keep (left to the model), mean, median, most_frequent, drop_rows
# category_impute = "auto"   # keep (a level of its own), most_frequent, drop_rows
# indicator = false          # a further feature that says where a blank was
# drop_columns_above = 1.0   # columns with a larger share of blanks are left out
# encode = "auto"            # one_hot, ordinal, target, frequency, hash
# rare_rows = 1              # levels in fewer rows than this share one entry
# max_levels = 10000         # levels a category keeps; rarer ones count as unseen
# buckets = 64               # of a hashed category
# scale = "auto"             # none, standard, min_max, robust, quantile, log, power
# date = "auto"              # parts, cyclic
# text = "auto"              # tf_idf, hash, drop
# text_features = 50         # words or hash buckets a text column becomes
# For one column, for example:
# [prepare.columns.age]
# impute = "constant"        # as above, or constant with
# fill = 0
# [prepare.columns.size]
# order = ["small", "medium", "large"]
# `roadworthy prepare --explain` says what is done with each column, and why.

[train]
# budget = "60s"             # for the whole job
# candidates = "auto"        # boosting, linear, catboost, xgboost, forest, hist; your own as
#                            # "package.module:name": ["boosting", "my.models:make_model"]
# search = "race"            # grid: every combination of [train.grid]; optuna
# grid.forest = {{ n_estimators = [50, 100], max_depth = [8, 16], min_samples_split = [2, 10] }}
# study = "search.jsonl"     # keeps finished fits, so that a search can be taken up
# max_members = 3            # of a blend
# max_microseconds = 100.0   # what serving a row may cost, as predicted
# max_mb = 10.0              # what the core may weigh
# metric = "auto"            # roc_auc, log_loss, f1, rmse, mae, …, or package.module:function
# folds = 5
# seed = 0
# n_jobs = 2                 # all cores when left out
# engine = "local"           # or ray: fits run on a cluster, at address = "HOST:PORT"
# validation = "auto"        # k_fold, stratified, group, time, repeated
# repeats = 3                # of the folds, when repeated
# gap = 0                    # rows left out between past and future, when time
# nested = false             # also estimate the whole procedure by an outer loop
# quantile = 0.5             # of the metric pinball
# class_weight = "none"      # balanced, or {{ yes = 5.0 }}
# calibrate = "auto"         # none, sigmoid, isotonic; auto only where it surely helps
# interval = 0.0             # 0.9: serve 90 % prediction intervals (regression)

[train.decision]             # two classes; without any, the more probable class is answered
# positive = "yes"           # the second class when left out
# threshold = "auto"         # a number, or what serves one of these aims best:
# cost = {{ false_positive = 1.0, false_negative = 5.0 }}
# recall_floor = 0.9
# precision_floor = 0.9
# maximise = "f1"            # balanced_accuracy, accuracy

[gates]
# What a release must reach; a gate is decided on its 95 % interval. Take the # away to ask for it.
# accuracy = ">= 0.85"       # or balanced_accuracy, roc_auc, log_loss, brier, mae, rmse, r2, ...
# recall.yes = ">= 0.7"      # of a class; also precision, f1
# slice_gap.accuracy = "<= 0.05"   # worse on a subgroup than on all other rows
# slice.region.accuracy = ">= 0.8" # on every level of a column
# no_worse_than = "champion" # --champion PATH, or a bundle's folder, or baseline
# behaviour = "all"          # every behavioural test holds
# expected = "tests/expected.csv"  # rows with expected predictions
# latency_p99_ms = "<= 20"   # also latency_p50_ms, microseconds_per_row, bundle_mb, age_days
# drift = "<= 0.2"           # of new data, also generalisation_gap.accuracy = "<= 0.02"
# slices = []                # columns to slice by; all that can be when left out
# slice_rows = 50            # rows below which a slice is not judged
# margin = 0.0               # what no_worse_than forgives
# no_worse_on = []           # metrics it compares; the search's own when left out
# golden = "all"             # or off
# expected_tolerance = 1e-6
# undecided = "fail"         # or pass: what not enough evidence counts as

[behaviour]
# monotone = {{ age = "up" }}  # or down: which way more of a column may move the answer
# monotone_class = "yes"     # whose probability that is
# invariant = []             # columns that may be swapped without moving the answer
# invariant_tolerance = 0.01
# max_jump = 0.1             # how far a tiny change may move an answer
# rows = 200
# skip = []

[package]
# formats = ["onnx"]         # also joblib, pickle, skops
# directory = "bundles"
# trusted_types = []         # types that a skops file may hold besides the harmless ones

[registry]
# url = "sqlite:///models.db"   # or postgresql://HOST/DATABASE; else in your data folder
# store = "s3://bucket/models"  # or a folder, gs://, az://; else beside the catalogue
# cache = "cache"            # where fetched versions stay; else your cache folder
# trusted_keys = []          # public keys: what none of them signed is refused everywhere
# signing_key = "release.key"   # signs what is packaged; also env:NAME, awskms:KEY, azurekms:KEY
# recipients = []            # X25519 public keys: blobs are sealed for them
# register = false           # launch also registers what it packages

[image]
# base = "python:3.12-slim"  # a Debian-like image with CPython 3.11 to 3.13; @sha256:... pins it
# engine = "auto"            # docker, podman, buildah, or none: an OCI layout without a daemon
# extras = []                # arrow, grpc, jwt, zstd: besides JSON and CSV; registry; aws
# model = "inside"           # mounted when the container starts, or fetched from the registry
# memory_mb = 512            # memory that `image test` gives the container
# latency_ms = 50.0          # 99th percentile of one row that `image test` allows
# fail_on = "critical"       # low, medium, high, never: when `image scan` fails
# source = "https://..."     # label: where the code is
# licence = "Apache-2.0"     # label: SPDX expression

[serve]
# host = "127.0.0.1"
# port = 8080
# workers = 1                # processes; 0 is one a core
# absent = "error"           # or blank: take an absent column for a blank
# allow_pickle = false       # true: a signed bundle without a core runs its joblib or pickle file
# max_body_mb = 16.0
# max_rows = 20000
# max_text = 100000          # characters of one cell
# max_connections = 4096     # a worker; the longest idle one makes room
# max_in_flight = 64         # large requests at once; more get 503 and Retry-After
# max_connections_client = 100   # of one address, where none is behind a proxy of others
# max_in_flight_client = 8   # of one key or address; a key may have a number of its own
# rate_client = 50.0         # requests a second of one address, each worker; health is free
# burst_client = 100         # of them at once
# trusted_proxies = []       # whose word on the client's address is believed: "10.0.0.0/8"
# proxy_header = "x-forwarded-for"  # where they write it; or "forwarded" (RFC 7239)
# header_seconds = 10.0      # for the head of a request to arrive
# body_seconds = 30.0        # for its body
# keep_alive_seconds = 75.0  # that a connection may idle
# drain_seconds = 30.0       # to finish answers after SIGTERM
# hang_seconds = 30.0        # after which a silent worker is replaced
# dialects = ["invocations", "inference", "kserve", "vertex", "azure"]
# grpc_port = 8081           # Open Inference over gRPC too
# keys = "keys.json"         # API keys; `roadworthy serve --new-key NAME` adds one
# jwks = "jwks.json"         # key set of an identity provider, with the next two
# oidc = false               # fetch the key set that jwt_issuer publishes instead
# jwt_audience = "rows"
# jwt_issuer = "https://id.example"
# tls_certificate = "server.pem"
# tls_key = "server.key"
# client_ca = "clients.pem"  # ask clients for a certificate of this authority
# cors_origins = []          # web pages that may ask
# otlp = "http://127.0.0.1:4318"  # an OpenTelemetry collector: traces and metrics
# otlp_sample = 1.0          # share of traces that begin here
# otlp_seconds = 10.0        # between two sendings
# follow = false             # swap when a bundle's link or an alias leads to another version
# follow_seconds = 2.0       # between two looks at the registry
# canary = "bundles/new"     # a version that answers canary_percent of the requests
# canary_percent = 0.0
# canary_key = "x-request-id"  # header whose value decides
# shadow = "bundles/new"     # a version that is asked too and only compared
# shadow_rows = 1000         # rows for a verdict
# shadow_tolerance = 0.001   # share of rows that may differ
# shadow_queue = 16          # requests that wait for it at once
# access_log = false         # a line of JSON a request on standard error
# log_folder = "log"         # the prediction log: rows and answers
# log_sample = 1.0           # share of requests in it
# log_redact = []            # columns that are left out
# log_rows = 50000           # rows that may wait to be written
# feedback_folder = "feedback"  # POST /feedback keeps labels there until they are collected
# log_memory_mb = 64.0       # and what they may hold of memory
# log_seconds = 300.0        # after which a segment is whole
# log_format = "jsonl"       # or parquet
# log_to = "s3://bucket/log" # where whole segments go; also gs://, az://, postgresql://
# log_spool_mb = 4096.0      # what may wait in log_folder for it

[monitor]
# counts = "counts"          # folder in which what is served is counted, for `monitor report`
# counts_seconds = 10.0      # how often counts are written
# learn_days = 28            # first days that are the usual, where the table has no time
# false_alarms = 0.001       # how likely a usual day has a finding of drift
# against = "training"       # last-week, weekday or DATE..DATE: what days are compared with
# hours_days = 35            # days that are counted by the hour; older ones by the day
# labels = "sqlite:///labels.db"  # or postgresql://HOST/DATABASE: what turned out to be true
# label_delay_days = 7.0     # after which a label is expected; as they came when left out
# period = "week"            # day, month: what quality is told by
# slices = []                # columns to tell quality by; all that can be when left out
# retrain_window_days = 90.0 # labelled rows that retraining adds; all when left out
# retrain_test_share = 0.3   # newest part of them, to compare on
# retrain_promote = "canary" # no, shadow, yes: what becomes of a challenger that passes
# alarms.errors = {{ threshold = 0.01, minutes = 5, severity = "page", on = true }}  # also down,
#                            # latency, no_traffic, log_lost, data, drift, quality, stale_model, ...
# runbook = "docs/monitoring.md"  # what alarms link to
# webhook = "env:ALARM_URL"  # notices are posted there
# smtp = "mail.example:587"  # or mailed; password in ROADWORTHY_SMTP_PASSWORD
# smtp_security = "starttls" # tls, none
# smtp_user = "roadworthy"
# smtp_from = "roadworthy@localhost"
# smtp_to = []
# alarm_state = "alarms.json"  # what is open
# repeat_hours = 24.0        # after which an open alarm is told again
# push = ["cloudwatch"]      # azure, google, otlp: where monitor watch sends metrics
# push_resource = "..."      # Azure's id of the resource, or Google's project
# push_endpoint = "http://collector:4318"  # or https://REGION.monitoring.azure.com
# scrape = "http://127.0.0.1:8080/metrics" # the server, for clouds and notices

[pipeline]
# stages = ["check", "train", "test", "package"]  # also image, staging, production, monitor,
#                            # rollback; roadworthy pipeline github|gitlab|jenkins writes them
# branch = "main"            # that releases come from
# install = []               # commands; without any, this version of Roadworthy from PyPI
# fetch = []                 # commands that bring the table, like ["dvc pull"]
# lint = []                  # your own commands, like ["ruff check ."]
# tests = []                 # like ["python -m pytest -q"]
# code = ["*.py", "src/**/*.py"]  # files that a model depends on
# nightly = "17 3 * * *"     # cron, in UTC
# monitoring = "41 5 * * *"
# targets = []               # names of [deploy.NAME]
# clouds = []                # aws, azure, gcp: sign in with the CI system's token
# sign = false
# register = false
# image = "registry.example/team/churn"  # no tag; else the CI system's own registry
# require_scan = false       # true: an image that no scanner looked at is not pushed
# python = "3.12"
# keep_days = 30             # of artifacts
# github_runner = "ubuntu-24.04"
# gitlab_image = "python:3.12-slim-bookworm"
# jenkins_agent = "linux"
# own = []                   # parts that --check leaves to you

# [deploy.prod]              # roadworthy deploy apply --to prod
# target = "ssh"             # a Linux host; USER@HOST or a name of your SSH configuration
# host = "root@models.example.org"
# ssh_port = 22              # else as your SSH configuration says, as are the next two
# identity = "deploy.key"
# known_hosts = "known_hosts"
# proxy = "ssh -W %h:%p gateway"  # else as your SSH configuration says
# model = "adult@champion"   # what to deploy; else the newest bundle
# port = 80                  # the public port; 443 with TLS
# domain = "models.example.org"  # asks for a certificate and renews it
# acme_directory = "https://acme.example.org/directory"  # else Let's Encrypt
# acme_root = "acme.pem"     # the certificate that server is trusted by
# acme_email = "ops@example.org"
# tls_certificate = "server.pem" # or your own, chain included
# tls_key = "server.key"
# keep = 5                   # releases that stay there for rollback
# secrets = ["NAME"]         # environment variables that the server gets
# start_seconds = 180        # for a new release to become ready
# firewall = true            # only SSH and the public port may be reached
# upgrades = true            # the host installs security updates by itself
# metrics_from = ["10.0.0.0/8"]  # who may read the host's own metrics

# [deploy.here]              # containers of this machine's engine; also the keys from model to
# target = "docker"          # start_seconds above
# engine = "auto"            # docker or podman
# image = "registry.example/team/churn:1"  # else the one that was pushed, else one is built
# address = "127.0.0.1"      # that callers use; 0.0.0.0: every address of this machine
# network = "monitoring"     # that releases join, to call out; else they have none
# memory_mb = 512
# cpus = 2.0
# proxy_image = "docker.io/library/caddy:2"
# name = "churn-staging"     # what containers are called by, where destinations share an engine

# [deploy.cloud]             # a machine that is made; then as a host, but for how it is reached
# target = "aws"             # pip install 'roadworthy[aws]'; docs/deploy.md has the other clouds
# region = "eu-central-1"
# instance_type = "t3.small"
# identity = "deploy.key"
# ssh_from = ["203.0.113.0/24"]  # who may reach SSH
# allow_from = ["0.0.0.0/0"] # who may reach the public port
# disk_gb = 20
# alarms = true              # the cloud watches the machine
# notify = ["ops@example.org"]
# ci = {{system = "github", repository = "OWNER/NAME", environment = "production"}}  # may deploy
# profile = "prod"           # of the AWS configuration
# image = "ami-0123456789abcdef0"  # else the newest Debian 12
# user = "admin"             # as the image has it
# subnet = "subnet-0123456789abcdef0"  # else a network is made
# access = "ssh"            # ssm: by way of Systems Manager, with no port open
# instances = {{min = 2, max = 4, cpu = 60, standby = 0}}  # a fleet behind a load balancer
# subnets = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]  # of a fleet or database
# certificate = "arn:aws:acm:…"  # of a fleet
# database = "db.t4g.micro"  # PostgreSQL and a bucket for [registry]
# database_from = ["203.0.113.0/24"]
# database_access = "public" # private: reached from its network alone, without database_from

# [deploy.azure]             # pip install 'roadworthy[azure]'
# target = "azure"
# region = "westeurope"
# subscription = "00000000-0000-0000-0000-000000000000"  # or AZURE_SUBSCRIPTION_ID
# size = "Standard_B2s"
# encryption_at_host = false # temporary disks too
# instances = {{min = 2, max = 4, cpu = 60, standby = 0}}  # a fleet behind a gateway
# zones = ["1", "2", "3"]    # of a fleet
# certificate = "/subscriptions/…/vaults/VAULT/secrets/NAME"  # of a fleet, given with domain
# database = "Standard_B1ms" # PostgreSQL and a storage account for [registry]
# database_from = ["203.0.113.0/24"]
# database_access = "public" # private: reached from its network alone, without database_from

# [deploy.google]            # pip install 'roadworthy[gcp]'
# target = "gcp"
# zone = "europe-west1-b"
# project = "my-project"     # else that of the credentials
# machine_type = "e2-small"
# service_account = "NAME@my-project.iam.gserviceaccount.com"  # else none
# database = "db-custom-1-3840"  # PostgreSQL and a bucket for [registry]
# database_from = ["203.0.113.0/24"]
# database_access = "public" # private: reached from its network alone, without database_from
# instances = {{min = 2, max = 4, cpu = 60, standby = 0}}  # a fleet behind a load balancer
# certificate = "projects/my-project/global/sslCertificates/NAME"  # of a fleet

# [deploy.cluster]           # a namespace of a Kubernetes cluster
# target = "kubernetes"
# image = "registry.example/adult:1"
# kubeconfig = "kubeconfig"  # else as kubectl is configured, as is the context
# context = "prod"
# namespace = "default"
# replicas = 2
# max_replicas = 10          # as many as replicas: nothing scales
# scale_on = "cpu"           # or concurrency, latency
# scale_target = 60.0        # percent, requests in flight, milliseconds
# cpu = "1"
# memory = "512Mi"
# workers = 1
# secret_refs = {{NAME = "SECRET/KEY"}}
# keys_secret = "adult-keys"
# pull_secret = "registry"
# allow_from = []            # other namespaces that may call
# service_monitor = false    # needs the Prometheus operator
# monitoring_namespace = "monitoring"
# canary_image = "registry.example/adult:2"
# canary_percent = 10
"""
