"""What a deployment applies, as files for those who apply by other means."""

from __future__ import annotations

import tempfile
from pathlib import Path

from roadworthy.bundle import Bundle
from roadworthy.deploy.kubernetes import releases
from roadworthy.deploy.kubernetes.helm import chart
from roadworthy.deploy.kubernetes.kserve import inference_service
from roadworthy.deploy.kubernetes.writing import to_yaml
from roadworthy.errors import OutsideError
from roadworthy.project import KubernetesSection, Project


def export_files(
    name: str, section: KubernetesSection, project: Project, bundle: Bundle, folder: Path
) -> list[str]:
    """Write manifests, a Kustomization of them, a Helm chart, and KServe's documents.

    Returns:
        The files, by their names in the folder.

    Raises:
        InputError: No cluster would take the settings.
        OutsideError: The files cannot be written.
    """
    wanted = releases.settings_of(name, section, project, bundle.manifest.short_version)
    customization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["manifests.yaml"],
    }
    files = {
        "manifests.yaml": to_yaml(list(releases.make(bundle, wanted).documents)).encode(),
        "kustomization.yaml": to_yaml([customization]).encode(),
        "kserve.yaml": to_yaml(inference_service(wanted)).encode(),
        **{f"chart/{name}/{path}": content for path, content in chart(wanted).items()},
    }
    try:
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as draft:
                draft.write(content)
            Path(draft.name).chmod(0o644)
            Path(draft.name).replace(target)
    except OSError as error:
        raise OutsideError(
            f"the files cannot be written: {error.strerror or error}", where=str(folder)
        ) from None
    return sorted(files)
