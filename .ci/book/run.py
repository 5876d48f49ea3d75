"""Tries out every block of the pages: commands run, in order, against a real Skep on a real Swarm; manifests, queries and files
are checked. Each page has a Skep, a folder and repositories of its own, and begins with nothing declared.

What a page names under example.org is played by this machine: `https://git.example.org/NAME.git` is a repository that the page
can push to (or what it has exported as GIT_HOST), `https://skep.example.org` the page's Skep, `https://downloads.example.org` a folder with its release. Images of registries that need not be reachable have stand-ins."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import graphql
import yaml

from . import pages
from .pages import Wrong

# A public image that pages name, and what stands in for it: a web server at port 80, with wget, of these tags.
IMAGE, STAND_IN, TAGS = "nginx:", "skep-docs:", ("1.27-alpine", "1.28-alpine")
KINDS = ("Stack", "Environment", "Credential", "Hook", "Catalog", "Notifier")
# Small whole manifests, for parts of them.
WHOLE = {
    "Stack": {"kind": "Stack", "name": "part", "inline": "services: { web: { image: 'web:1' } }\n"},
    "Environment": {"kind": "Environment", "name": "part", "endpoints": ["unix:///var/run/docker.sock"]},
    "Hook": {"kind": "Hook", "name": "part", "provider": "Generic", "unsigned": True, "rules": [{"stacks": ["*"]}]},
}
# The longest that a block may take, in seconds.
LONGEST = 120


class World:
    """One page's Skep, folder, repositories, and what its blocks have exported."""

    def __init__(self, root, skep, tools, served):
        self.root, self.skep = root, skep
        self.place = Path(tempfile.mkdtemp(prefix="skep-docs-"))
        self.work, self.home = self.place / "work", self.place / "home"
        for folder in (self.work, self.home, self.place / "git", self.place / "bin"):
            folder.mkdir()
        (self.place / "bin/skep").symlink_to(skep)
        # The engine is a manager already.
        docker = f'#!/bin/sh\n[ "$*" != "swarm init" ] || set -- node ls\nexec {shutil.which("docker")} "$@"\n'
        (self.place / "bin/docker").write_text(docker)
        (self.place / "bin/docker").chmod(0o755)
        self.started, self.groups = [], []
        self.git = self.start(["python3", str(root / "examples/git-server.py"), str(self.place / "git"), "0"], r"serving (http://\S+)")
        self.env = {
            "PATH": f"{self.place / 'bin'}:{tools}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "GIT": str(self.place / "git"),
            "DOWNLOADS": str(self.place / "downloads"),
            "ROOT": str(root),
            "LC_ALL": "C.UTF-8",
            "SKEP_COLOR": "never",
            **({"SKEP_DATA": str(self.place / "data")} if served else {}),
            **{name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ},
        }
        (self.home / ".gitconfig").write_text(
            "[user]\nname = reader\nemail = reader@example.org\n[init]\ndefaultBranch = main\n[advice]\ndetachedHead = false\n"
            f'[url "{self.place / "git"}/"]\ninsteadOf = {self.git}/\n'
        )
        self.server = None
        if served:
            flags = ["--listen", "127.0.0.1:0", "--allow-private-addresses", "--allow-file-sources", "--metrics-public"]
            self.server = self.start([str(skep), "serve", *flags], r"listening on (http://\S+)")
            self.env["SKEP_SERVER"] = self.server
            self.env["SKEP_TOKEN"] = (self.place / "data/admin.token").read_text().strip()
            self.until_ready()

    def start(self, command, said):
        log = self.place / f"log-{len(self.started)}"
        with log.open("w") as out:
            env = getattr(self, "env", os.environ)
            process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=env, cwd=self.place)
        self.started.append(process)
        end = time.monotonic() + 60
        while time.monotonic() < end and process.poll() is None:
            if found := re.search(said, log.read_text()):
                return found[1]
            time.sleep(0.05)
        raise Wrong(f"{command[0]} did not start: {log.read_text()}")

    def until_ready(self):
        ready = ["skep", "health", "--ready", "--patience", "30s"]
        subprocess.run(ready, env={**self.env, "SKEP_LISTEN": self.server.removeprefix("http://")}, check=True, capture_output=True)

    def text(self, text):
        """The text with the machines of example.org, and images, in their places."""
        text = text.replace("https://git.example.org", self.exported("GIT_HOST") or self.git)
        text = text.replace("https://downloads.example.org", f"file://{self.place / 'downloads'}")
        if self.server:
            text = text.replace("https://skep.example.org:7717", self.server).replace("https://skep.example.org", self.server)
        return re.sub(rf"(?<![\w/]){IMAGE}(?=1)", STAND_IN, text)

    def exported(self, name):
        """What a block has exported by this name; `cd` is the folder that it went to."""
        kept = self.place / "kept.sh"
        there = "cd (.+)" if name == "cd" else f'declare -x {name}="(.*)"'
        found = re.search(rf"^{there}$", kept.read_text(), re.M) if kept.exists() else None
        return found and found[1]

    def run(self, text, seconds):
        """Runs a block in bash; the next one finds the folder and what was exported. Gives its exit code and what it printed."""
        script, kept = self.place / "block.sh", self.place / "kept.sh"
        head = f"set -eo pipefail\n[ ! -e {kept} ] || . {kept}\ntrap 'code=$?; {{ export -p; echo cd \"$PWD\"; }} >{kept}; exit $code' EXIT\n"
        script.write_text(head + text)
        process = subprocess.Popen(
            ["bash", str(script)], cwd=self.work, env=self.env, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.groups.append(process.pid)
        try:
            printed, _ = process.communicate(timeout=seconds or LONGEST)
            return process.returncode, printed
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            printed, _ = process.communicate()
            return None, printed

    def close(self):
        """Takes everything away again that the page has made."""
        if self.server and self.started[-1].poll() is None:
            listed = subprocess.run(["skep", "get", "stacks", "-o", "json"], env=self.env, capture_output=True, text=True, check=False)
            for catalog in self.names("catalog", "list"):
                subprocess.run(["skep", "catalog", "delete", catalog], env=self.env, capture_output=True, check=False)
            for stack in json.loads(listed.stdout or "[]"):
                gone = ["skep", "delete", stack["name"], "-e", stack["environment"], "--yes", "--timeout", "60s"]
                subprocess.run(gone, env=self.env, capture_output=True, check=False)
        for group in self.groups:
            try:
                os.killpg(group, signal.SIGTERM)
            except ProcessLookupError:
                pass
        for process in reversed(self.started):
            process.terminate()
        for process in self.started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        sweep(self.env)
        shutil.rmtree(self.place, ignore_errors=True)

    def names(self, *command):
        found = subprocess.run(["skep", *command, "-o", "json"], env=self.env, capture_output=True, text=True, check=False)
        try:
            return [it["name"] for it in json.loads(found.stdout or "[]")]
        except (ValueError, KeyError, TypeError):
            return []


def docker(env, *words):
    return subprocess.run(["docker", *words], env=env, capture_output=True, text=True, check=False).stdout.split()


def sweep(env):
    """Takes away the stacks, configs, secrets and networks that are left, and the claims."""
    namespaces = set(docker(env, "service", "ls", "-q", "--filter", "label=com.docker.stack.namespace"))
    if namespaces:
        docker(env, "service", "rm", *namespaces)
    for kind in ("config", "secret", "network"):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            left = docker(env, kind, "ls", "-q", "--filter", "label=com.docker.stack.namespace")
            if kind == "config":
                left += docker(env, kind, "ls", "-q", "--filter", "label=dev.skep.claim")
            if not left:
                break
            docker(env, kind, "rm", *left)


class Page:
    """One page under test."""

    def __init__(self, world, venv, schema, name):
        self.world, self.venv, self.schema, self.name = world, venv, schema, name
        self.printed, self.tally = "", {}

    def block(self, block):
        how = self.how(block)
        self.tally[how] = self.tally.get(how, 0) + 1

    def fail(self, block, message):
        raise Wrong(f"{block.place}: {message}")

    def how(self, block):
        marks, text = block.marks, self.world.text(block.text)
        if "file" in marks:
            path = Path(self.world.exported("cd") or self.world.work) / marks["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            if text.startswith("#!"):
                path.chmod(0o755)
        if "same as" in marks and block.text != (self.world.root / marks["same as"]).read_text():
            self.fail(block, f"it is not what {marks['same as']} says")
        if "steps" in marks:
            return self.steps(block, text)
        if "output" in marks:
            self.compare(block, text)
            return "compared"
        only = marks.get("not run") or marks.get("only read")
        if ("not run" in marks or "only read" in marks) and not only:
            self.fail(block, "the mark has no reason")
        if block.language in ("sh", "bash", "console"):
            if block.language == "console":
                text = "".join(found + "\n" for found in re.findall(r"^\$ ((?:.*\\\n)*.*)$", text, re.M))
            if only or "file" in marks:
                self.form(block, text)
                return "form checked" if only else "written"
            return self.run(block, text)
        if block.language == "yaml":
            return self.yaml(block, text, only)
        if block.language == "graphql":
            errors = graphql.validate(self.schema, graphql.parse(text))
            if errors:
                self.fail(block, errors[0].message)
            return "checked"
        if block.language in ("json", "python", "ts", "toml", "xml", "ini"):
            return self.code(block, text, only)
        if block.language in ("text", "http", "diff", "caddyfile", "nginx", "dockerfile"):
            if "file" in marks or block.language == "text":
                return "text"
            if only:
                return "text"
        self.fail(block, f"nobody tries a block of `{block.language}` out: mark it `only read: REASON`, or name it `text`")

    def run(self, block, text):
        self.form(block, text)
        text = re.sub(r"'\S+ ssh-ed25519 AAAA\w*…'", '"$HOST_KEY"', re.sub("01[kK]…", "$ID", text))
        wanted = int(block.marks.get("exit", 0))
        if seconds := block.marks.get("for"):
            for command in re.sub(r"\\\n", " ", text).strip().split("\n"):
                code, self.printed = self.world.run(command, float(seconds))
                if code not in (0, None):
                    self.fail(block, f"`{command}` ended with {code}:\n{self.printed}")
            return "run"
        code, self.printed = self.world.run(text, None)
        if code is None:
            self.fail(block, f"it has not ended after {LONGEST} s:\n{self.printed}")
        if code != wanted:
            logs = "".join(path.read_text()[-1500:] for path in sorted(self.world.place.glob("log-1")))
            self.fail(block, f"it ended with {code}, not {wanted}:\n{self.printed}\n--- server:\n{logs}")
        return "run"

    def compare(self, block, text):
        found, at = [line.rstrip() for line in self.printed.split("\n")], 0
        for line in text.rstrip("\n").split("\n"):
            # Columns are as wide as their contents.
            squeezed = re.sub(r" {2,}", "  ", line.strip())
            pattern = re.compile(re.escape(squeezed).replace("…", ".*").replace(r"\ \ ", r"\s+") + r"\s*$")
            while at < len(found) and not pattern.match(found[at].strip()):
                at += 1
            if at == len(found):
                self.fail(block, f"it was not printed: {line}\nThis was:\n{self.printed}")
            at += 1

    def form(self, block, text):
        """Bash can read it, and `skep` knows every command of it."""
        parsed = subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=False)
        if parsed.returncode:
            self.fail(block, parsed.stderr)
        known(self.world.skep, block, text)

    def yaml(self, block, text, only):
        try:
            documents = [d for d in yaml.safe_load_all(text) if d is not None]
        except yaml.YAMLError as error:
            self.fail(block, error)
        if only:
            return "form checked"
        if inside := block.marks.get("within"):
            there = documents[0]
            rest = {k: v for k, v in WHOLE[inside].items() if k not in there and not (k == "inline" and "source" in there)}
            return self.manifest(block, block.text + (yaml.safe_dump(rest) if rest else ""))
        if all(isinstance(d, dict) and d.get("kind") in KINDS for d in documents):
            return self.manifest(block, block.text)
        if all(isinstance(d, dict) and "services" in d for d in documents):
            return self.compose(block, text)
        if "file" in block.marks:
            return "written"
        self.fail(block, "a manifest, a compose file, a part (`within: KIND`), or something else (`only read: REASON`)?")

    def steps(self, block, text):
        """A workflow of a CI: by its schema, and then as its runner would do it, with what the page has exported."""
        kind = block.marks["steps"]
        path = self.world.place / "workflow.yml"
        path.write_text(block.text)
        schema = {"github": "vendor.github-workflows", "gitlab": "vendor.gitlab-ci"}[kind]
        asked = [self.venv / "bin/check-jsonschema", "--builtin-schema", schema, path]
        if kind == "gitlab":
            asked += ["--data-transform", "gitlab-ci"]
        checked = subprocess.run(asked, capture_output=True, text=True, check=False)
        if checked.returncode:
            self.fail(block, checked.stdout + checked.stderr)
        document, number = yaml.safe_load(text), 0
        for env, script in (of_github if kind == "github" else of_gitlab)(document):
            number += 1
            exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in env.items() if "${{" not in value)
            self.form(block, script)
            into = "export GITHUB_PATH=$PWD/github-path\n[ ! -e $GITHUB_PATH ] || PATH=$(tail -n 1 $GITHUB_PATH):$PATH\n"
            code, self.printed = self.world.run(into + exports + script, None)
            if code:
                self.fail(block, f"step {number} ended with {code}:\n{self.printed}")
        return "workflow run"

    def manifest(self, block, text):
        env, folder = dict(self.world.env), self.world.place / "manifest"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in re.findall(r"fromEnv: *(\w+)", text):
            env[name] = "https://hooks.example.org/in" if "URL" in name or "WEBHOOK" in name else "a-value-for-the-docs"
        for name in re.findall(r"fromFile: *([\w./-]+)", text):
            path = folder / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("a-value-for-the-docs")
        asked = ["skep", "apply", "--dry-run", "-f", "-"]
        # Kinds that stand alone are told nothing of each other by a dry run: only form counts here.
        tried = subprocess.run(asked, input=text, env=env, cwd=folder, text=True, capture_output=True, check=False)
        if tried.returncode:
            self.fail(block, f"{tried.stderr}{tried.stdout}")
        return "checked"

    def compose(self, block, text):
        names = set(re.findall(r"\$\{?(\w+)", text))
        document = {"kind": "Stack", "name": "form", "inline": text, "policy": {"mode": "observe"}}
        document["variables"] = {name: "1" for name in names}
        named = yaml.safe_dump(document, sort_keys=False)
        if re.search(r"^\s*(- )?(file|env_file|include|extends):", text, re.M) or re.search(r"\{\s*file:", text):
            # Its files are in a repository: the page that shows it runs it.
            if "file" not in block.marks:
                self.fail(block, "it names files: write it with `file:` and run it, or mark it `only read: REASON`")
            return "written"
        for words in (["apply", "-f", "-"], ["render", "form"], ["delete", "form", "--yes"]):
            tried = subprocess.run(["skep", *words], input=named, env=self.world.env, text=True, capture_output=True, check=False)
            if tried.returncode:
                self.fail(block, f"skep {' '.join(words)}: {tried.stderr}{tried.stdout}")
        return "checked"

    def code(self, block, text, only):
        try:
            if block.language == "json":
                json.loads(text)
            elif block.language == "python":
                compile(text, block.place, "exec")
        except (ValueError, SyntaxError) as error:
            if not only:
                self.fail(block, error)
        return "form checked"


def in_passing(text):
    """What a sentence says of a command, as a command: what may be left out stands in brackets, values in capitals."""
    return re.sub(r"\bN\b", "1", re.sub(r"\bID\b", "01kbvqjz9ex7h2e3s1q8f5a6b7", re.sub(r"[\[\]]", "", text)))


def known(skep, block, text, passing=False):
    """`skep` knows every command of a text. An option that is only named has no value."""
    text = re.sub(r"\\\n", " ", text)
    text = re.sub(r"<<-?'?(\w+)'?.*?\n.*?\n\1$", "", text, flags=re.S | re.M)
    for line in text.split("\n"):
        try:
            lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
            lexer.whitespace_split, lexer.commenters = True, "#"
            words = list(lexer)
        except ValueError:
            continue
        for command in commands(words):
            # `--help` is found when everything before it was understood.
            asked = subprocess.run([skep, *command, "--help"], capture_output=True, text=True, check=False)
            if asked.returncode and not (passing and "a value is required" in asked.stderr):
                raise Wrong(f"{block.place}: skep {' '.join(command)}: {asked.stderr}")


def of_github(document):
    """The steps of a workflow of GitHub, each with its variables; what comes from an expression is the page's to export."""
    for job in document["jobs"].values():
        for step in job["steps"]:
            if "run" in step:
                yield {**job.get("env", {}), **step.get("env", {})}, step["run"]


def of_gitlab(document):
    """The jobs of a pipeline of GitLab, each as one script."""
    for name, job in document.items():
        if isinstance(job, dict) and "script" in job and not name.startswith("."):
            base = document.get(job.get("extends"), {})
            lines = [*base.get("before_script", []), *job["script"]]
            yield {**base.get("variables", {}), **job.get("variables", {})}, "\n".join(lines) + "\n"


def commands(words):
    """The arguments of each `skep` that a line calls."""
    found, current, first = [], None, True
    for word in words:
        if set(word) <= set("();<>|&{}!"):
            current, first = None, set(word) != {"<"} and set(word) != {">"}
        elif first and re.match(r"\w+=|\$$|(then|do|else|if|while|until|time|exec)$", word):
            continue
        elif first:
            current, first = ([], False) if word.rpartition("/")[2] == "skep" else (None, False)
            if current is not None:
                found.append(current)
        elif current is not None:
            current.append(word)
    # A redirection's number, and words that stand for something.
    return [[re.sub(r"^(…|01[kK]…)$", "x", word) for word in words if not re.fullmatch(r"[12]", word)] for words in found if words]


def stand_ins(env):
    """The images that stand in for public ones, out of the examples'."""
    for n, tag in enumerate(TAGS, 1):
        image = STAND_IN + tag
        made = subprocess.run(
            ["docker", "build", "-q", "-t", image, "-"], text=True, capture_output=True, check=False, env={**env, "DOCKER_BUILDKIT": "0"},
            input=f'FROM skep-example:{n}\nCMD ["httpd", "-f", "-p", "80", "-h", "/www"]\nSTOPSIGNAL SIGKILL\n',
        )  # fmt: skip
        if made.returncode:
            raise Wrong(f"{image} cannot be made: {made.stderr}; .ci/setup makes what it is made of")


def check(root, target, skep, venv, only):
    schema = graphql.build_schema((root / "schema.graphql").read_text())
    stand_ins(dict(os.environ))
    claims = docker(dict(os.environ), "config", "ls", "-q", "--filter", "label=dev.skep.claim")
    if claims:
        raise Wrong("another Skep keeps this Swarm: stop it first (make demo-stop)")
    if not (root / "dashboard/node_modules/.bin/tsc").exists():
        # The compiler of the TypeScript that pages show.
        npm = ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(npm, cwd=root / "dashboard", check=True, stdin=subprocess.DEVNULL)
    total, begun, broken = {}, time.monotonic(), []
    for name in pages.all_of(root):
        if only and name not in only:
            continue
        blocks, served = pages.read(root / name, name)
        at, world = time.monotonic(), None
        try:
            for said in pages.said(root / name, name):
                known(skep, said, in_passing(said.text), passing=True)
                total["said in passing"] = total.get("said in passing", 0) + 1
            if not blocks:
                continue
            world = World(root, skep, target / "tools", served)
            page = Page(world, venv, schema, name)
            for block in blocks:
                page.block(block)
            for how, count in page.tally.items():
                total[how] = total.get(how, 0) + count
            told = ", ".join(f"{count} {how}" for how, count in sorted(page.tally.items()))
            print(f"{time.monotonic() - at:6.1f} s  {name}: {told}", flush=True)
        except Wrong as error:
            broken.append(str(error))
            print(f"error: {error}", flush=True)
        finally:
            if world:
                world.close()
    if broken:
        # Again, at the end: of a long log that is what is read.
        raise Wrong("\n".join([f"{len(broken)} pages are not as they say:", *broken]))
    told = ", ".join(f"{count} {how}" for how, count in sorted(total.items()))
    print(f"the docs' blocks: {told}; {time.monotonic() - begun:.0f} s")
