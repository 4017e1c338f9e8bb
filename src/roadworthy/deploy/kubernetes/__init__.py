"""Kubernetes: a model's image as manifests, as a Helm chart, as a KServe InferenceService."""

from roadworthy.deploy.kubernetes.checks import Finding, check_documents
from roadworthy.deploy.kubernetes.documents import documents
from roadworthy.deploy.kubernetes.helm import chart
from roadworthy.deploy.kubernetes.kserve import inference_service
from roadworthy.deploy.kubernetes.settings import Settings
from roadworthy.deploy.kubernetes.writing import read_yaml, to_yaml

__all__ = [
    "Finding",
    "Settings",
    "chart",
    "check_documents",
    "documents",
    "inference_service",
    "read_yaml",
    "to_yaml",
]
