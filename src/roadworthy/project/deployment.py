"""Every kind of `[deploy.NAME]`: a union, told apart by `target`; a kind adds a file and a line."""

from __future__ import annotations

from roadworthy.project.deploy import SshSection
from roadworthy.project.deploy_aws import AwsSection
from roadworthy.project.deploy_azure import AzureSection
from roadworthy.project.deploy_docker import DockerSection
from roadworthy.project.deploy_gcp import GcpSection
from roadworthy.project.deploy_kubernetes import KubernetesSection

Deployment = SshSection | DockerSection | KubernetesSection | AwsSection | AzureSection | GcpSection
