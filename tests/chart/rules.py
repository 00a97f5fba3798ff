"""Compiles the rules of the custom resources' definitions and evaluates each with objects that keep it and
objects that break it, where and how an API server of Kubernetes 1.25 or newer does.

What such a server has beside the language itself is left out here: the functions of Kubernetes differ
between its versions, and those of the language are in all of them."""

import pathlib
import re
import sys

import jsonschema
import yaml
from cel_expr_python import cel

DEFINITIONS = pathlib.Path(sys.argv[1]) / "charts/boma/crds/definitions.yaml"
RULES = "x-kubernetes-validations"
ENVIRONMENT = cel.NewEnv(variables={"self": cel.Type.DYN, "oldSelf": cel.Type.DYN})

# `self.a.b` and `oldSelf.a.b`; a name with a bracket behind it is a function.
PATH = re.compile(r"\b(?:self|oldSelf)((?:\.\w+\b(?!\())+)")


def database(name="orders", status=None, **spec):
    made = {"metadata": {"name": name}, "spec": spec}
    return made | ({"status": status} if status else {})


def restore(**fields):
    return database(bootstrap={"restore": {"database": "orders", **fields}})


def application(name="api", **spec):
    return {"metadata": {"name": name}, "spec": spec}


MADE = {"id": "3f0b5c0a"}
OUT = {"instance": "3f0b5c0a", "repository": "default"}
WORKLOAD = {"workload": "Deployment/api"}

# By kind and by what is said: objects that keep the rule, and objects that break it. A pair is an update,
# from the first to the second.
EXAMPLES = {
    ("Database", "a name has at most 40 lower-case letters, digits and hyphens"): (
        [database(name="a"), database(name="a" * 40)],
        [database(name="a" * 41), database(name="orders.eu")],
    ),
    ("Application", "a name has at most 40 lower-case letters, digits and hyphens"): (
        [application(name="a"), application(name="a" * 40)],
        [application(name="a" * 41), application(name="api.eu")],
    ),
    (
        "Database",
        "the major version is fixed when the database is made: make another database, and move the data",
    ): (
        [
            database(version=18),
            (database(version=17), database(version=18)),
            (database(version=17, status={"phase": "pending"}), database(version=18)),
            (database(version=17, status=MADE), database(version=17, memory="2Gi", status=MADE)),
            (database(version=17, status=MADE), database(version="17", status=MADE)),
            (database(version=17, status=MADE), database(status=MADE)),
            (database(status=MADE), database(version=17, status=MADE)),
            ({"metadata": {"name": "orders"}, "status": MADE}, database(version=17, status=MADE)),
            (database(version=17, status=MADE), {"metadata": {"name": "orders"}, "status": MADE}),
        ],
        [
            (database(version=17, status=MADE), database(version=18, status=MADE)),
            (database(version="17", status=MADE), database(version=18, status=MADE)),
            # Whoever takes the status away does not get around it.
            (database(version=17, status=MADE), database(version=18)),
        ],
    ),
    ("Database", "give at most one of targetTime, targetLsn, targetName and targetBackup"): (
        [
            restore(),
            restore(targetTime="2026-11-21T14:32:06Z"),
            restore(targetLsn="0/3000000"),
            restore(targetName="before"),
            restore(targetBackup="20261121T143206Z"),
        ],
        [
            restore(targetTime="2026-11-21T14:32:06Z", targetLsn="0/3000000"),
            restore(targetLsn="0/3000000", targetName="before"),
            restore(targetName="before", targetBackup="20261121T143206Z"),
            restore(targetTime="2026-11-21T14:32:06Z", targetBackup="20261121T143206Z"),
        ],
    ),
    ("Database", "repository stands beside instance only"): (
        [restore(), restore(instance="3f0b5c0a"), restore(**OUT)],
        [restore(repository="default")],
    ),
    ("Application", "give an image or a command, not both"): (
        [
            application(),
            application(source={"image": "api:1"}),
            application(source={"command": ["api"]}),
        ],
        [application(source={"image": "api:1", "command": ["api"]})],
    ),
    ("Application", "a workload brings its own source and replicas"): (
        [
            application(target=WORKLOAD),
            application(source={"image": "api:1"}, target={"replicas": 2}),
            application(source={"image": "api:1"}),
        ],
        [
            application(source={"image": "api:1"}, target=WORKLOAD),
            application(target=WORKLOAD | {"replicas": 2}),
        ],
    ),
}


def rules(schema, at=()):
    """Every rule, with the schema that it is in and the path there."""
    for rule in schema.get(RULES, []):
        yield at, schema, rule
    for name, field in schema.get("properties", {}).items():
        yield from rules(field, (*at, name))
    for below in ("items", "additionalProperties"):
        if isinstance(schema.get(below), dict) and list(rules(schema[below])):
            sys.exit(f"FAILED: a rule below {at}/{below}: it is evaluated for each, which is not known here")


def check_paths(at, schema, rule):
    """An API server refuses a definition with a rule that names a field the schema has not."""
    for path in PATH.findall(rule["rule"]):
        found, names = schema, path.strip(".").split(".")
        if not at and names[0] == "metadata":
            # Whatever the schema says of metadata, rules may use these two.
            if names[1:] not in (["name"], ["generateName"]):
                sys.exit(f"FAILED: no rule may use {path}: {rule['rule']}")
            continue
        for name in names:
            if name not in found.get("properties", {}):
                sys.exit(f"FAILED: there is no field {path}: {rule['rule']}")
            found = found["properties"][name]


def value_at(given, at):
    for name in at:
        given = given.get(name) if given else None
    return given


def holds(at, rule, example):
    """Whether an API server would take it. A rule that fails with an error takes nothing."""
    old, new = example if isinstance(example, tuple) else (None, example)
    old, new = value_at(old, at), value_at(new, at)
    if new is None or (old is None and "oldSelf" in rule["rule"]):
        return True
    given = {"self": new} | ({"oldSelf": old} if old is not None else {})
    said = ENVIRONMENT.compile(rule["rule"]).eval(data=given)
    if said.type() != cel.Type.BOOL:
        sys.exit(f"FAILED: {rule['rule']}: {said.value()}, of {example}")
    return said.value()


def check_example(kind, schema, example, broken):
    for one in example if isinstance(example, tuple) else (example,):
        jsonschema.validate(one, schema)
    said = [rule["message"] for at, _, rule in rules(schema) if not holds(at, rule, example)]
    if said != broken:
        sys.exit(f"FAILED: {kind}: {said} in place of {broken} is said of {example}")


def check(kind, schema):
    seen = set()
    for at, below, rule in rules(schema):
        try:
            compiled = ENVIRONMENT.compile(rule["rule"])
        except RuntimeError as error:
            sys.exit(f"FAILED: {kind}: {rule['rule']}\n{error}")
        if compiled.return_type() != cel.Type.BOOL:
            sys.exit(f"FAILED: {kind}: no condition: {rule['rule']}")
        check_paths(at, below, rule)
        row = (kind, rule["message"])
        if row in seen or not all(EXAMPLES.get(row, ([], []))):
            sys.exit(f"FAILED: a rule has no examples of its own: {row}")
        seen.add(row)
        keeping, breaking = EXAMPLES[row]
        for example in keeping:
            check_example(kind, schema, example, [])
        for example in breaking:
            check_example(kind, schema, example, [rule["message"]])
    return seen


found = set()
for definition in yaml.safe_load_all(DEFINITIONS.read_text()):
    if definition:
        for version in definition["spec"]["versions"]:
            found |= check(definition["spec"]["names"]["kind"], version["schema"]["openAPIV3Schema"])
if found != EXAMPLES.keys():
    sys.exit(f"FAILED: there are no such rules: {EXAMPLES.keys() - found}")
print(f"{len(found)} rules of definitions are kept and broken by what should keep and break them")
