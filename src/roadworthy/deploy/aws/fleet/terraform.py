"""The parts of a fleet as resources of Terraform's provider `hashicorp/aws`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from roadworthy.deploy.aws.part import Part
from roadworthy.deploy.aws.terraform_words import image, label, reference, snake, word
from roadworthy.deploy.cloud.terraform import Resources

USER_DATA = "user-data"
"""The file beside the document that machines begin with."""
ARCHIVE = "release.tar"
"""The file beside it that they fetch."""
ACCOUNT = "ACCOUNT-OF-AWS"
"""What stands in the user data for the account's number, which only Terraform knows."""


def stored(key: str) -> Resources:
    """The archive that a release's machines fetch.

    Args:
        key: Its place in the bucket.
    """
    return {
        "aws_s3_object.release": {
            "bucket": reference("aws-bucket"),
            "key": key,
            "source": f"${{path.module}}/{ARCHIVE}",
            "source_hash": f'${{filesha256("${{path.module}}/{ARCHIVE}")}}',
        }
    }


def _bucket(part: Part, made: dict[str, Any]) -> Resources:
    name, bucket = label(part.id), reference(part.id)
    asked = {each.operation: each.parameters for each in made["settle"]}
    closed = asked["PutPublicAccessBlock"]["PublicAccessBlockConfiguration"]
    found: Resources = {
        # releases can be made again; models cannot
        f"aws_s3_bucket.{name}": {"bucket": made["Bucket"], "force_destroy": name == "bucket"},
        f"aws_s3_bucket_public_access_block.{name}": {"bucket": bucket, **snake(closed)},
    }
    if "PutBucketEncryption" in asked:
        sealed = asked["PutBucketEncryption"]["ServerSideEncryptionConfiguration"]["Rules"]
        rules = [{"apply_server_side_encryption_by_default":
                  {"sse_algorithm": each["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]}}
                 for each in sealed]  # fmt: skip
        arguments = {"bucket": bucket, "rule": rules}
        found[f"aws_s3_bucket_server_side_encryption_configuration.{name}"] = arguments
    return found


def _logs(part: Part, made: dict[str, Any]) -> Resources:
    days = made["settle"][0].parameters["retentionInDays"]
    return {
        "aws_cloudwatch_log_group.logs": {"name": made["logGroupName"], "retention_in_days": days}
    }


def _balancer(part: Part, made: dict[str, Any]) -> Resources:
    return {
        "aws_lb.balancer": {
            "name": made["Name"],
            "load_balancer_type": made["Type"],
            "internal": made["Scheme"] == "internal",
            "subnets": made["Subnets"],
            "security_groups": made["SecurityGroups"],
            "drop_invalid_header_fields": True,
            "tags": made["tags"],
        }
    }


def _listener(part: Part, made: dict[str, Any]) -> Resources:
    (action,) = made["DefaultActions"]
    arguments = {
        "load_balancer_arn": made["LoadBalancerArn"],
        "port": made["Port"],
        "protocol": made["Protocol"],
        "default_action": [_action(action)],
        "tags": made["tags"],
    }
    if "Certificates" in made:
        arguments["ssl_policy"] = made["SslPolicy"]
        arguments["certificate_arn"] = made["Certificates"][0]["CertificateArn"]
    return {f"aws_lb_listener.{label(part.id)}": arguments}


def _action(action: dict[str, Any]) -> dict[str, Any]:
    kinds = {"FixedResponseConfig": "fixed_response", "RedirectConfig": "redirect"}
    return {"type": action["Type"]} | {
        kinds[key]: snake(value) for key, value in action.items() if key in kinds
    }


def _targets(part: Part, made: dict[str, Any]) -> Resources:
    check = {word(key.removeprefix("HealthCheck")): made[key] for key in made
             if key.startswith("HealthCheck")}  # fmt: skip
    for key in ("Healthy", "Unhealthy"):
        check[f"{key.lower()}_threshold"] = made[f"{key}ThresholdCount"]
    check["interval"], check["timeout"] = (
        check.pop("interval_seconds"),
        check.pop("timeout_seconds"),
    )
    (delay,) = made["settle"][0].parameters["Attributes"]
    return {
        "aws_lb_target_group.targets": {
            "name": made["Name"],
            "protocol": made["Protocol"],
            "port": made["Port"],
            "vpc_id": made["VpcId"],
            "target_type": made["TargetType"],
            "deregistration_delay": delay["Value"],
            "health_check": check | {"matcher": made["Matcher"]["HttpCode"]},
            "tags": made["tags"],
            "lifecycle": {"create_before_destroy": True},
        }
    }


def _template(part: Part, made: dict[str, Any]) -> Resources:
    data = made["LaunchTemplateData"]
    known = '"${path.module}/' + USER_DATA + '"'
    script = f'replace(file({known}), "{ACCOUNT}", data.aws_caller_identity.current.account_id)'
    disks = [{"device_name": each["DeviceName"], "ebs": {
        key: str(value).lower() if isinstance(value, bool) else value
        for key, value in snake(each["Ebs"]).items()
    }} for each in data["BlockDeviceMappings"]]  # fmt: skip
    return {
        "aws_launch_template.template": {
            "name": made["LaunchTemplateName"],
            "image_id": data["ImageId"],
            "instance_type": data["InstanceType"],
            "iam_instance_profile": {"name": data["IamInstanceProfile"]["Name"]},
            "vpc_security_group_ids": data["SecurityGroupIds"],
            "metadata_options": snake(data["MetadataOptions"]),
            "block_device_mappings": disks,
            "user_data": f"${{base64encode({script})}}",
            "tags": made["tags"],
            # a newer image is no reason to make the machines anew
            "lifecycle": {"create_before_destroy": True, "ignore_changes": ["image_id"]},
        },
        **image(part),
    }


def _group(part: Part, made: dict[str, Any]) -> Resources:
    policy = made["settle"][0].parameters
    target = policy["TargetTrackingConfiguration"]
    measured = target["PredefinedMetricSpecification"]["PredefinedMetricType"]
    name = next(each["Value"] for each in part.make.parameters["Tags"] if each["Key"] == "Name")
    template = made["LaunchTemplate"]["LaunchTemplateId"]
    return {
        "aws_autoscaling_group.group": {
            "name": made["AutoScalingGroupName"],
            "min_size": made["MinSize"],
            "max_size": made["MaxSize"],
            # the group before ends when so many of this one are healthy
            "wait_for_elb_capacity": made["MinSize"],
            "vpc_zone_identifier": made["VPCZoneIdentifier"].split(","),
            "target_group_arns": made["TargetGroupARNs"],
            "health_check_type": made["HealthCheckType"],
            "health_check_grace_period": made["HealthCheckGracePeriod"],
            "launch_template": {"id": template, "version": made["LaunchTemplate"]["Version"]},
            "tag": [{"key": "Name", "value": name, "propagate_at_launch": True}],
            "depends_on": ["aws_s3_object.release", "aws_lb_listener_rule.trial",
                           "aws_iam_role_policy.role"],
            "lifecycle": {"create_before_destroy": True},
        },
        "aws_autoscaling_policy.group": {
            "name": policy["PolicyName"],
            "policy_type": policy["PolicyType"],
            "autoscaling_group_name": "${aws_autoscaling_group.group.name}",
            "target_tracking_configuration": {
                "predefined_metric_specification": {"predefined_metric_type": measured},
                "target_value": target["TargetValue"],
            },
        },
    }  # fmt: skip


def _trial(part: Part, made: dict[str, Any]) -> Resources:
    """The way to a release before callers get it, and theirs, which is given to it after that.

    Only machines that some rule leads to are looked after by the balancer. So the rule of the
    trial comes before the group, and that of the callers when the group is healthy.
    """
    (condition,), (action,) = made["Conditions"], made["Actions"]
    to = [{"type": action["Type"], "target_group_arn": action["TargetGroupArn"]}]
    paths = condition["PathPatternConfig"]["Values"]
    trial = {"listener_arn": made["ListenerArn"], "priority": made["Priority"], "action": to,
             "condition": [{"path_pattern": {"values": paths}}]}  # fmt: skip
    callers = trial | {
        "priority": 100, "condition": [{"path_pattern": {"values": ["/*"]}}],
        "depends_on": ["aws_autoscaling_group.group"],
    }  # fmt: skip
    return {"aws_lb_listener_rule.trial": trial, "aws_lb_listener_rule.callers": callers}


def _subnets(part: Part, made: dict[str, Any]) -> Resources:
    return {
        "aws_db_subnet_group.database_subnets": {
            "name": made["DBSubnetGroupName"],
            "description": made["DBSubnetGroupDescription"],
            "subnet_ids": made["SubnetIds"],
            "tags": made["tags"],
        }
    }


def _database(part: Part, made: dict[str, Any]) -> Resources:
    name = made["DBInstanceIdentifier"]
    return {
        "aws_db_instance.database": {
            "identifier": name,
            "engine": made["Engine"],
            "instance_class": made["DBInstanceClass"],
            "allocated_storage": made["AllocatedStorage"],
            "storage_type": made["StorageType"],
            "storage_encrypted": made["StorageEncrypted"],
            "db_name": made["DBName"],
            "username": made["MasterUsername"],
            "manage_master_user_password": made["ManageMasterUserPassword"],
            "db_subnet_group_name": made["DBSubnetGroupName"],
            "vpc_security_group_ids": made["VpcSecurityGroupIds"],
            "backup_retention_period": made["BackupRetentionPeriod"],
            "publicly_accessible": made["PubliclyAccessible"],
            "auto_minor_version_upgrade": made["AutoMinorVersionUpgrade"],
            # what is in it outlives it
            "skip_final_snapshot": False,
            "final_snapshot_identifier": f"{name}-final",
            "tags": made["tags"],
        }
    }


FLEET_KINDS: dict[str, Callable[[Part, dict[str, Any]], Resources]] = {
    "bucket": _bucket,
    "logs": _logs,
    "balancer": _balancer,
    "listener": _listener,
    "targets": _targets,
    "template": _template,
    "group": _group,
    "rule": _trial,
    "database subnets": _subnets,
    "database": _database,
    "store": _bucket,
}
