"""The pages of the reference that are made of what the program itself says: command line, GraphQL, REST, conditions. And of the
pages that people write, the tables: each field of a manifest and each metric has its line, and no line is about one that is not there."""

import json
import os
import re
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import graphql
import yaml

from .pages import Wrong

MADE = "<!-- Made by `.ci/docs reference --write`; do not edit. -->\n"


def check(root, skep, write):
    schema = graphql.build_schema((root / "schema.graphql").read_text())
    rest = yaml.safe_load((root / "swagger/swagger.yaml").read_text())
    made = {
        "cli.md": command_line(skep),
        "graphql.md": graphql_page(schema),
        "rest.md": rest_page(rest),
        "conditions.md": conditions(schema),
    }
    for name, text in made.items():
        path = root / "docs/reference" / name
        if write:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            raise Wrong(f"docs/reference/{name} is not what the code says: .ci/docs reference --write, and commit it")
    with Server(skep) as server:
        fields = manifest_fields(server)
        told = set(re.findall(r"^\| `([\w.\[\]*]+)` \|", (root / "docs/reference/manifest.md").read_text(), re.M))
        differ("docs/reference/manifest.md", "fields", told, fields)
        metrics = set(re.findall(r"^# TYPE (\S+)", server.metrics(), re.M))
        told = set(re.findall(r"^\| `(skep_\w+)", (root / "docs/reference/metrics.md").read_text(), re.M))
        # What has not happened yet has no series; that there are no more is shown by the tests of what is shipped.
        differ("docs/reference/metrics.md", "metrics", told & metrics, metrics)
    sources = (p.read_text() for p in (root / "src").rglob("*.rs") if "tests" not in p.parts)
    labels = set(re.findall(r'_LABEL: &str = "(dev\.skep\.\w+)"', "".join(sources)))
    told = set(re.findall(r"^\| `(dev\.skep\.\w+)` \|", (root / "docs/reference/labels.md").read_text(), re.M))
    differ("docs/reference/labels.md", "labels", told, labels)
    print(f"docs/reference: {len(made)} pages are what the code says; {len(fields)} fields, {len(metrics)} metrics, {len(labels)} labels have their line")


def differ(page, what, told, there):
    if missing := sorted(there - told):
        raise Wrong(f"{page} does not tell of these {what}: {', '.join(missing)}")
    if false := sorted(told - there):
        raise Wrong(f"{page} tells of {what} that are not there: {', '.join(false)}")


def line(text):
    """A description as one line of a table."""
    return " ".join((text or "").split()).replace("|", "\\|")


# The command line.


def help_of(skep, words):
    # What stands in a reader's environment is not part of the help.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SKEP_", "XDG_"))} | {"HOME": "/home/you", "COLUMNS": "100"}
    env.pop("STATE_DIRECTORY", None)
    return subprocess.run([skep, *words, "--help"], env=env, capture_output=True, text=True, check=True).stdout


def command_line(skep):
    text = MADE + "\n# The command line\n\n"
    top = help_of(skep, [])
    text += "Variables of the environment stand for the options that name them. What holds for every command stands here, once.\n\n"
    text += "```text\n" + top.rstrip() + "\n```\n"

    def walk(words, depth):
        found = ""
        page = help_of(skep, words)
        own = re.split(r"\n+Global options:\n", page)[0].rstrip()
        # `-h, --help` says nothing.
        own = re.sub(r"\n+  -h, --help\n +Print help.*?(?=\n\n|\Z)", "", own, flags=re.S)
        own = re.sub(r"\n+Options:\s*\Z", "", own)
        found += f"\n{'#' * depth} skep {' '.join(words)}\n\n```text\n{own}\n```\n"
        for sub in subcommands(page):
            found += walk([*words, sub], min(depth + 1, 4))
        return found

    for command in subcommands(top):
        text += walk([command], 2)
    return text


def subcommands(page):
    found = re.search(r"\nCommands:\n(.*?)(\n\n|\Z)", page, re.S)
    names = re.findall(r"^  (\S+)", found[1], re.M) if found else []
    return [name for name in names if name != "help"]


# GraphQL.


def graphql_page(schema):
    text = MADE + "\n# GraphQL\n\n"
    text += "`POST /graphql`, and `GET /graphql` as a websocket (graphql-transport-ws) for subscriptions, with a [token](../guides/access.md).\n"
    text += "[`schema.graphql`](../../schema.graphql) is what `skep schema` prints, and what this page is made of.\n"
    roots = [("Queries", schema.query_type), ("Mutations", schema.mutation_type), ("Subscriptions", schema.subscription_type)]
    for title, root in roots:
        text += f"\n## {title}\n"
        for name, found in root.fields.items():
            text += f"\n### {name}\n\n{found.description or ''}\n\n"
            text += f"Gives `{found.type}`.\n"
            if found.args:
                text += "\n| argument | type | |\n| --- | --- | --- |\n"
                for argument, of in found.args.items():
                    text += f"| `{argument}` | `{of.type}` | {line(of.description)} |\n"
    kinds = [
        ("Objects", graphql.GraphQLObjectType),
        ("Interfaces", graphql.GraphQLInterfaceType),
        ("Unions", graphql.GraphQLUnionType),
        ("Inputs", graphql.GraphQLInputObjectType),
        ("Enums", graphql.GraphQLEnumType),
        ("Scalars", graphql.GraphQLScalarType),
    ]
    skipped = {root.name for _, root in roots}
    for title, kind in kinds:
        types = [it for it in schema.type_map.values() if isinstance(it, kind) and not it.name.startswith("__") and it.name not in skipped]
        if not types:
            continue
        text += f"\n## {title}\n"
        for it in sorted(types, key=lambda it: it.name):
            text += f"\n### {it.name}\n\n{it.description or ''}\n"
            if isinstance(it, graphql.GraphQLEnumType):
                text += "\n| value | |\n| --- | --- |\n"
                text += "".join(f"| `{name}` | {line(value.description)} |\n" for name, value in it.values.items())
            elif isinstance(it, graphql.GraphQLUnionType):
                text += "\nOne of " + ", ".join(f"`{one}`" for one in it.types) + ".\n"
            elif hasattr(it, "fields"):
                text += "\n| field | type | |\n| --- | --- | --- |\n"
                for name, found in it.fields.items():
                    text += f"| `{name}` | `{found.type}` | {line(found.description)} |\n"
    return text


# REST.


def rest_page(document):
    text = MADE + "\n# REST\n\n" + document["info"]["description"].strip() + "\n\n"
    text += "[`swagger/swagger.yaml`](../../swagger/swagger.yaml) has the whole of it; a server shows it at `/api/docs`, where calls can be tried.\n"

    def follow(it):
        while "$ref" in it:
            found = document
            for part in it["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            it = found
        return it

    for path, calls in document["paths"].items():
        shared = calls.get("parameters", [])
        for method, call in calls.items():
            if method not in ("get", "put", "post", "delete", "patch"):
                continue
            text += f"\n## {method.upper()} {path}\n\n{call['summary']}.\n"
            if call.get("description"):
                text += f"\n{call['description'].strip()}\n"
            parameters = [follow(it) for it in [*shared, *call.get("parameters", [])]]
            if parameters:
                text += "\n| parameter | in | |\n| --- | --- | --- |\n"
                text += "".join(f"| `{it['name']}` | {it['in']} | {line(it.get('description'))} |\n" for it in parameters)
            text += "\n| answer | |\n| --- | --- |\n"
            text += "".join(f"| {code} | {line(follow(it)['description'])} |\n" for code, it in call["responses"].items())
    return text


# Conditions and reasons.

PARTS = [
    ("Phases of a stack", "StackPhase", "One function of spec and status gives it."),
    ("Phases of a deployment", "DeploymentPhase", "Those from `Converged` on are ends."),
    ("Conditions", "ConditionType", "Each has a status, a reason, a message, the generation it was observed at, and since when."),
    ("Status of a condition", "ConditionStatus", ""),
    ("Reasons", "Reason", "Why a condition is as it is. Scripts may hold on to these words; messages are for people, and may change."),
    ("Classes of failure", "FailureClass", "What a deployment failed of; metrics and notifiers use the same words."),
    ("Triggers", "Trigger", "What a deployment was begun by."),
    ("Events", "EventType", "Lines of the log: `skep events`, the subscription `eventAdded`."),
]


def conditions(schema):
    text = MADE + "\n# Conditions, phases and reasons\n\nThe words of `skep get`, GraphQL, REST, metrics and events: the same everywhere.\n"
    for title, name, told in PARTS:
        it = schema.type_map[name]
        text += f"\n## {title}\n\n"
        text += f"{told}\n\n" if told else ""
        text += "| word | what it says |\n| --- | --- |\n"
        text += "".join(f"| `{word}` | {line(value.description)} |\n" for word, value in it.values.items())
    return text


# What only a server tells.


class Server:
    """A Skep without an engine, to be asked."""

    def __init__(self, skep):
        self.skep = skep

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="skep-reference-")
        data, log = Path(self.folder.name) / "data", Path(self.folder.name) / "log"
        flags = ["--listen", "127.0.0.1:0", "--docker", "unix:///nowhere.sock", "--metrics-public", "--data", str(data)]
        with log.open("w") as out:
            self.process = subprocess.Popen([self.skep, "serve", *flags], stderr=out, stdout=out, stdin=subprocess.DEVNULL)
        for _ in range(600):
            if found := re.search(r"listening on (http://\S+)", log.read_text()):
                break
            time.sleep(0.05)
        else:
            raise Wrong(f"skep serve did not start: {log.read_text()}")
        self.address, self.token = found[1], (data / "admin.token").read_text().strip()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.folder.cleanup()

    def metrics(self):
        """What `/metrics` says, with a stack declared."""
        self.ask({"kind": "Stack", "name": "probe", "inline": "services: { web: { image: 'web:1' } }"}, dry=False)
        with urllib.request.urlopen(f"{self.address}/metrics", timeout=10) as answer:
            return answer.read().decode()

    def refusals(self, manifest):
        """What the server finds wrong with a manifest: nothing is recorded."""
        return self.ask(manifest, dry=True)

    def ask(self, manifest, dry):
        query = "mutation($m: String!, $d: Boolean!) { applyStack(input: {manifest: $m, dryRun: $d}) { userErrors { message field hint } } }"
        body = json.dumps({"query": query, "variables": {"m": json.dumps(manifest), "d": dry}}).encode()
        request = urllib.request.Request(
            f"{self.address}/graphql", body, {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            found = json.load(answer)
        return found["data"]["applyStack"]["userErrors"]


# A field that is like no other.
PROBE = "qqqqqqqqqqqqqqqq"
# Mappings whose keys are the user's own.
FREE = {"Stack.variables", "Stack.images", "Credential.data", "Hook.rules[].set"}
# What has to be there so that the rest is read.
NEEDED = {"Notifier": [{"type": kind} for kind in ("Slack", "Webhook", "GitHubStatus")], "Stack": [{}, {"inline": "a"}]}


def manifest_fields(server):
    """The dotted path of every field that a manifest of each kind may have, as the server's own refusals name them."""
    found = set()

    def known(kind, path, inside):
        """The fields that are known at a path, by asking for one that nobody knows there."""
        fields = set()
        for extra in NEEDED.get(kind, [{}]):
            document = {"kind": kind, "name": "probe", **extra, **inside}
            for refusal in server.refusals(document):
                hint = refusal["hint"] or ""
                if PROBE in refusal["message"] and hint.startswith("known here: "):
                    fields |= set(hint.removeprefix("known here: ").split(", "))
        return fields

    def nest(path, value):
        """A document that has a value at a path."""
        for part in reversed(path):
            value = {part.removesuffix("[]"): [value] if part.endswith("[]") else value}
        return value

    def walk(kind, path):
        for field in known(kind, path, nest(path, {PROBE: 1})) - {PROBE}:
            here = [*path, field]
            name = f"{kind}.{'.'.join(here)}"
            if not path and field in ("kind", "name"):
                continue
            found.add(name)
            if name in FREE:
                continue
            if known(kind, here, nest(here, {PROBE: 1})):
                walk(kind, here)
            elif known(kind, here, nest([*path, f"{field}[]"], {PROBE: 1})):
                found.discard(name)
                found.add(f"{name}[]")
                if f"{name}[]" not in FREE:
                    walk(kind, [*path, f"{field}[]"])

    for kind in ("Stack", "Environment", "Credential", "Hook", "Catalog", "Notifier"):
        walk(kind, [])
    return found
