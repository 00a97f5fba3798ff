"""Compares what the chart makes with what the command prints, and both with the schemas of Kubernetes;
and calls the plugin of kubectl."""

import os
import pathlib
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml

HELM = os.environ["BOMA_HELM"]
KUBECTL = os.environ["BOMA_KUBECTL"]
BOMA = os.environ["BOMA_BINARY"]
ROOT = pathlib.Path(sys.argv[1])
CHART = ROOT / "charts/boma"
BUILT = ROOT / "crates/boma-kubernetes/src/build"
NAMESPACE = "boma-system"

# Sources differ in what `boma kubernetes manifests` is told; everything else is in config.toml.
GIT = ["https://git.example/m.git", "ssh://git@git.example/n.git#prod:databases"]
ACCEPTED = {
    "nothing but defaults": {},
    "a ConfigMap": {"sources": {"customResources": False, "configMap": "databases"}},
    "repositories": {
        "sources": {"customResources": False, "git": GIT, "branch": "prod", "path": "a b/c"}
    },
    "a path that no repository wants": {"sources": {"path": "databases"}},
    "a dashboard": {"dashboard": True},
    "a dashboard of repositories": {
        "dashboard": True,
        "sources": {"customResources": False, "git": GIT[:1]},
    },
    "a proxy without a dashboard": {"config": {"dashboard": {"behind-proxy": True}}},
    "a user, who is no fraction": {"config": {"kubernetes": {"user": 1000000000}}},
    "everything": {
        "image": "registry.example:5000/boma@sha256:" + "0" * 64,
        "pullSecrets": ["registry", "other"],
        "replicas": 2,
        "sources": {"customResources": True, "configMap": "databases", "git": GIT},
        "dashboard": True,
        "config": {
            "kubernetes": {
                "user": 26,
                "images": {"17": "postgres:17.10"},
                "identity": {
                    "service-account": "backups",
                    "annotations": {"eks.amazonaws.com/role-arn": 'arn:"x"\\<&>\n'},
                    "pod-labels": {"azure.workload.identity/use": "true"},
                },
            },
            "dashboard": {
                "url": "https://boma.example",
                "behind-proxy": True,
                "oidc": {
                    "issuer": "https://login.example",
                    "client-id": "boma",
                    "client-secret": "provider",
                    "groups-claim": "roles",
                    "groups": {"dba": ["admin", "viewer:acme"], "nobody": []},
                },
            },
            "repositories": {
                "default": {
                    "type": "s3",
                    "bucket": "b",
                    "prefix": "é",
                    "region": "eu-central-1",
                    "endpoint": "http://minio.example:9000",
                    "allow-http": True,
                    "virtual-hosted": False,
                    "certificate-authority": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
                    "secret": "credentials",
                    "compression-level": 5,
                },
                "google": {"type": "gcs", "bucket": "b", "prefix": "p"},
                "azure": {
                    "type": "azure",
                    "account": "a",
                    "container": "c",
                    "prefix": "p",
                    "endpoint": "https://blob.example",
                },
            },
            "plans": {
                "pro": {
                    "cpuCount": 2,
                    "memory": "4Gi",
                    "storage": "1Ti",
                    "clusterSize": 1,
                    "retentionDays": 14,
                    "pointInTimeRecovery": True,
                },
                "tiny": {"cpuCount": 0.5},
            },
        },
    },
}

# Each with the field or the value that is named.
REFUSED = [
    ({"replicas": 0}, "replicas"),
    ({"replicas": 1.5}, "replicas"),
    ({"replica": 2}, "replica"),
    ({"image": "boma 0.1"}, "image"),
    ({"pullSecrets": ["No Name"]}, "pullSecrets.0"),
    ({"dashboard": "yes"}, "dashboard"),
    ({"sources": {"customResources": False}}, "sources"),
    ({"sources": {"git": ["/srv/manifests"]}}, "sources.git.0"),
    ({"sources": {"git": ["https://me:word@git.example/m.git"]}}, "sources.git.0"),
    ({"sources": {"branch": ""}}, "sources.branch"),
    ({"config": {"spares": 2}}, "spares"),
    ({"config": {"kubernetes": {"namespace": "other"}}}, "namespace"),
    ({"config": {"kubernetes": {"images": {"14": "postgres:14"}}}}, "14"),
    ({"config": {"repositories": {"x": {"type": "directory", "path": "/b"}}}}, "repositories.x"),
    (
        {"config": {"repositories": {"x": {"type": "s3", "bucket": "b", "secret-access-key": "k"}}}},
        "secret-access-key",
    ),
]


def run(*command, fails=False):
    done = subprocess.run(command, capture_output=True, text=True)
    if (done.returncode != 0) != fails:
        sys.exit(f"FAILED: {command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stderr if fails else done.stdout


def rendered(values, scratch, fails=False):
    path = scratch / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    flags = ["--namespace", NAMESPACE, "--values", path, "--include-crds"]
    return run(HELM, "template", "boma", CHART, *flags, fails=fails)


def arguments(values):
    """What `boma kubernetes manifests` is told for the same."""
    sources = {"customResources": True, "configMap": "", "git": [], "branch": "main", "path": ""}
    sources |= values.get("sources", {})
    arguments = ["custom-resources"] if sources["customResources"] else []
    arguments += [f"configmap/{sources['configMap']}"] if sources["configMap"] else []
    arguments += sources["git"] + ["--branch", sources["branch"]]
    arguments += ["--path", sources["path"]] if sources["path"] else []
    arguments += ["--replicas", str(values.get("replicas", 1))]
    return arguments + (["--dashboard"] if values.get("dashboard") else [])


def by_name(objects):
    named = {(one["kind"], one["metadata"]["name"]): one for one in objects}
    assert len(named) == len(objects), "two objects of one name"
    return named


def documents(text):
    return [one for one in yaml.safe_load_all(text) if one]


def compare(name, values, scratch):
    """Both ways of installing say the same; answers with the objects of both."""
    by_chart = by_name(documents(rendered(values, scratch)))
    # The command reads the very file that the chart made, so this also says that it can be read.
    state = scratch / "state"
    state.mkdir(exist_ok=True)
    config = by_chart["ConfigMap", "boma-config"]["data"]["config.toml"]
    (state / "config.toml").write_text(config)
    command = [BOMA, "--state-dir", state, "kubernetes", "manifests", *arguments(values)]
    printed = documents(run(*command))
    by_command = by_name(printed)
    # Helm makes it (`--create-namespace`), and Boma writes its labels when it first runs.
    del by_command["Namespace", NAMESPACE]
    for key in by_chart.keys() | by_command.keys():
        one, other = by_chart.get(key), by_command.get(key)
        if one != other:
            sys.exit(f"FAILED: {name}: {key}\nby chart:   {one}\nby command: {other}")
    print(f"{name}: {len(by_chart)} objects alike")
    return [*by_chart.values(), *printed]


def built():
    """The objects of a database and an application: snapshots that tests compare with what is built."""
    objects = {}
    for path in sorted(BUILT.glob("**/*.snap")):
        # What is said of a workload of others is a part of it, and no whole object.
        if not path.stem.endswith("__attached"):
            _, _, text = path.read_text().split("---\n", 2)
            objects[path.stem] = yaml.safe_load(text)
    kinds = {one["kind"] for one in objects.values()}
    wanted = "Deployment Job Namespace NetworkPolicy PersistentVolumeClaim Secret Service"
    wanted = {*wanted.split(), "ServiceAccount", "StatefulSet"}
    assert kinds == wanted, kinds ^ wanted
    return list(objects.values())


def validate(objects):
    newest = kubernetes_validate.latest_version()
    for version in ["1.33", newest]:
        for one in objects:
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except Exception as error:
                sys.exit(f"FAILED: Kubernetes {version}: {one['kind']}: {error}")
        print(f"{len(objects)} objects are as Kubernetes {version} wants them")
    wrong = {**objects[0], "nothing": 1}
    try:
        kubernetes_validate.validate(wrong, newest, strict=True)
    except kubernetes_validate.ValidationError:
        return
    sys.exit("FAILED: what is wrong is not found")


def call_plugin(scratch):
    plugins = scratch / "plugins"
    plugins.mkdir()
    (plugins / "kubectl-boma").symlink_to(pathlib.Path(BOMA).resolve())
    environment = {"HOME": str(scratch), "PATH": str(plugins)}
    command = [KUBECTL, "boma", "get", "--help"]
    called = subprocess.run(command, env=environment, capture_output=True, text=True)
    if "Usage: kubectl boma get" not in called.stdout:
        sys.exit(f"FAILED: {called}")
    print("kubectl finds its plugin")


with tempfile.TemporaryDirectory() as scratch:
    scratch = pathlib.Path(scratch)
    call_plugin(scratch)
    run(HELM, "lint", "--strict", CHART)
    objects = built()
    for name, values in ACCEPTED.items():
        objects += compare(name, values, scratch)
    for values, said in REFUSED:
        error = rendered(values, scratch, fails=True)
        # Helm 3 writes paths with dots, Helm 4 with slashes.
        if "the schema" not in error or said not in error.replace("/", "."):
            sys.exit(f"FAILED: {values}: not {said!r} but {error}")
    print(f"{len(REFUSED)} sets of wrong values are refused")
    validate(objects)
