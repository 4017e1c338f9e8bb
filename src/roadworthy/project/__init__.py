"""The project file: one typed section a file, and how they are read."""

from roadworthy.project.data import (
    NAME,
    NAME_RULE,
    ColumnOptions,
    DataSection,
    Kind,
    ProjectSection,
)
from roadworthy.project.decision import DecisionOptions
from roadworthy.project.deploy import DeploySection, SshSection
from roadworthy.project.deploy_aws import AwsSection
from roadworthy.project.deploy_azure import AzureSection
from roadworthy.project.deploy_ci import Ci
from roadworthy.project.deploy_cloud import CloudSection, Instances
from roadworthy.project.deploy_docker import DockerSection
from roadworthy.project.deploy_gcp import GcpSection
from roadworthy.project.deploy_kubernetes import KubernetesSection
from roadworthy.project.deployment import Deployment
from roadworthy.project.gates import BehaviourSection, GatesSection
from roadworthy.project.guard import GuardSection
from roadworthy.project.image import ImageSection
from roadworthy.project.loading import FILE_NAME, Project, load_project, parse_duration
from roadworthy.project.monitor import MonitorSection
from roadworthy.project.pipeline import CloudName, PipelineSection, StageName
from roadworthy.project.prepare import ColumnPreparation, PrepareSection
from roadworthy.project.registry import RegistrySection
from roadworthy.project.serve import PackageSection, ServeSection
from roadworthy.project.train import TrainSection

__all__ = [
    "FILE_NAME",
    "NAME",
    "NAME_RULE",
    "AwsSection",
    "AzureSection",
    "BehaviourSection",
    "CloudName",
    "Ci",
    "CloudSection",
    "ColumnOptions",
    "ColumnPreparation",
    "DataSection",
    "DecisionOptions",
    "DeploySection",
    "Deployment",
    "DockerSection",
    "GcpSection",
    "GuardSection",
    "GatesSection",
    "ImageSection",
    "Kind",
    "Instances",
    "KubernetesSection",
    "MonitorSection",
    "PackageSection",
    "PipelineSection",
    "PrepareSection",
    "Project",
    "ProjectSection",
    "RegistrySection",
    "ServeSection",
    "StageName",
    "SshSection",
    "TrainSection",
    "load_project",
    "parse_duration",
]
