"""Input that was made to break the program: one line, code 2, nothing written; no input is waited for or run."""

import json
import os
import re

import pytest
from click.testing import CliRunner

import nas
from nas.cli import main
from nas.results.records import RunRecord
from tests.conftest import TINY
from tests.nas.examples import layout, result

CONTEXT = "4" * 400
BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
)
QUIET = [*TINY, "tracking.enabled=false"]


def refused(*arguments, code=2):
    """The one line of complaint on standard error."""
    result = CliRunner().invoke(main, [a if isinstance(a, bytes | str) else str(a) for a in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("nas: ") and result.stdout == "", result.output
    assert len(lines[0]) < 1500 and lines[0].isprintable()
    return lines[0]


OVERRIDES = [
    "space.layers=100000000",
    "search.sampler=os:system",
    "search.sampler=builtins:dict",
    "search.sampler=builtins:print",
    "search.sampler=tests.nas.test_hostile:no_sampler",
    "search.sampler=tests.nas.test_hostile:broken_sampler",
    "search.seconds=.inf",
    "search.seeds=1000000000",
    "search.seeds_per_job=1000000000",
    "search.seed=100000000000000000000000000000",
    "search.seed=-1",
    "search.seed=2147483648",
    "workers.address=''",
    "search.trials=100000000000000000000",
    "search.objectives=[recall, [decode_ms]]",
    "search.objectives=[recall, 'os:system']",
    "workers.cpus=.nan",
    "workers.cpus=.inf",
    "workers.cpus=1e-8",
    "workers.gpus=.nan",
    "workers.gpus=.inf",
    "workers.gpus=1.5",
    "workers.count=100000000",
    'space.choices=[":"]',
    'space.choices=[":b"]',
    'space.choices=["..:x"]',
    'space.choices=["os:system"]',
    'space.choices=["builtins:dict"]',
    'space.choices=["gla/os:system"]',
    "space.choices=[[gla]]",
    "space.blocks={a: {mixer: [gla]}}",
    "space.blocks={a: {mixer: gla, heads: {choose: [{b: 1}]}}}",
    "target.width=100000000000000000000",
    "target.width=1e20",
    "target.width=1000000000",
    f"target.context={CONTEXT}",
    "target.layers=100000000",
    "target.device=[h100]",
    "target.device={flops: 1e-300, bandwidth: 1, memory: 1}",
    "proxy.mlp_scale=.nan",
    "proxy.mlp_scale=.inf",
    "proxy.mlp_scale=1e12",
    "proxy.width=100000",
    "proxy.width=1048576",
    "proxy.heads=100000000",
    "proxy.state=1000000000000",
    "proxy.shift_from=1e12",
    "proxy.embedding_skip=nan",
    "proxy.shift_width=1000000000000",
    "proxy.options={glaa: {heads: 2}}",
    "proxy.options={gla: {haeds: 2}}",
    "proxy.options={gla: {heads: .inf}}",
    "tasks.recall={keys: 1000000000000}",
    "tasks.recall={keys: 1e12}",
    "tasks.needle={hay: 1000000000000}",
    "tasks.mqar={tokens: 1000000000000}",
    "tasks.recall={weight: .nan}",
    "tasks.recall={task: [recall]}",
    "tasks={x: {task: 'os:system'}}",
    "tasks.text={tokens: 1000000000}",
    "text={paths: [README.md], tokens: 1000000000}",
    "text.paths=[/dev/zero]",
    "training.weight_decay=.nan",
    "training.weight_decay=.inf",
    "training.batch=1000000",
    "training.steps=100000000000000000000",
    "tracking.uri='sqlite:///:memory:'",
    "tracking.uri='sqlite:////dev/null'",
    "tracking.uri='http://a:99999999'",
    f"tracking.uri='sqlite:///{'x' * 300}'",
    f"tracking.experiment={'x' * 300}",
    f"name={'x' * 300}",
    "name=../../elsewhere",
    "name='???'",
    "target.profile='???'",
    "target.profile=/dev/zero",
    f"target.profile={'x' * 300}",
    'name="a\\0b"',
    'name="\\ud800"',
    f"name={'x' * 100000}",
    "name=${oc.env:NO_SUCH_VARIABLE}",
    "name=${name}",
    "name=${",
    "name=${oc.create:" + "[" * 300 + "}",
    "format=7",
    "search.published=3",
    "tracking.enabled=0",
    "target.tied_embeddings=1.0",
    "space.choices=[gla, gla]",
    "space.per_layer={0: [gla, attention, gla]}",
    "text.tokens=-1",
    "text.weight=-1",
    "search=&a {seed: *a}",
    "search={seed: 1, seed: 2}",
    "search=!!python/object/apply:os.system [ls]",
    "training=!!set {steps}",
    "name=" + "[" * 5000,
    f"{'a.' * 5000}b=1",
]


def no_sampler(problem, seed):
    return print


def broken_sampler(problem, seed):
    raise OSError("a\nb")


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda override: override[:60])
def test_overrides(tmp_path, override):
    line = refused("search", "--config", "smoke", "--out", tmp_path / "run", *QUIET, override)
    assert "expected" in line and not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", ["???", "${oc.env:HOME}", "${name}"])
def test_what_stands_for_something_else_is_resolved_before_it_is_written(tmp_path, value, monkeypatch):
    monkeypatch.setenv("HOME", "x ${oc.env:PATH}")
    if "env" in value:
        assert nas.load("smoke", [f"name={value.replace('HOME', 'USER_OF_NAS,me')}"]).name == "me"
    assert "name" in refused("search", "--config", "smoke", "--out", tmp_path / "run", f"name='{value}'")


CONFIGS = {
    "null as a key": "null: 3\n",
    "a number as a key": "1.5: 3\n",
    "a date": "name: !!timestamp 2001-01-01\n",
    "a date as a key": "!!timestamp 2001-01-01: 3\n",
    "a set": "training: !!set {steps}\n",
    "itself": "search: &a {seed: *a}\n",
    "a bomb": BOMB,
    "deep": "a: " + "[" * 5000,
    "deep blocks": "".join(f"{' ' * i}a:\n" for i in range(500)),
    "long": "name: " + "x" * 2**19,
    "a long number": f"target: {{context: {CONTEXT}}}\n",
    "twice": "name: a\nname: b\n",
    "two documents": "name: a\n---\nname: b\n",
    "code": "name: !!python/object/apply:os.system [ls]\n",
    "a merge of nothing": "search: {<<: 3}\n",
    "a wrong tag": "name: !!int ''\n",
    "a list of sections": "search: [1, 2]\n",
    "a later format": "format: 99\nname: a\n",
    "half a format": "format: 1.5\n",
}


@pytest.mark.parametrize("content", CONFIGS.values(), ids=CONFIGS.keys())
def test_configurations_and_layouts(tmp_path, content):
    file = tmp_path / "file.yaml"
    file.write_text(content)
    assert str(file) in (line := refused("search", "--config", file, "--out", tmp_path / "run")) or "search" in line
    assert str(file) in refused("evaluate", file, "--config", "smoke", *QUIET)
    assert os.listdir(tmp_path) == ["file.yaml"]


LAYOUTS = {
    "a million layers": "layers: [" + "gla, " * 1_000_000 + "]",
    "many layers": "layers: [" + "gla, " * 5000 + "]",
    "options that are no numbers": "blocks: {a: {mixer: gla, heads: .nan}}\nlayers: [a]",
    "a class that is no mixer": "layers: ['builtins:dict']",
    "half a path": "layers: [':b']",
    "many heads": "blocks: {a: {mixer: gla, heads: 1000000, key_size: 1000000}}\nlayers: [a]",
    "a mapping as an option": "blocks: {a: {mixer: gla, heads: {a: 1}}}\nlayers: [a]",
}


@pytest.mark.parametrize("content", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_layouts(tmp_path, content):
    file = tmp_path / "layout.yaml"
    file.write_text(content)
    refused("evaluate", file, "--config", "smoke", *QUIET)


@pytest.mark.parametrize(
    "text",
    [
        "gla*000000001999999999",
        "gla*" + "9" * 5000,
        "(" * 5000,
        "gla(a=" + "[" * 5000,
        "gla(heads=9e99)",
        "gla*٣",
        "gla(heads=2,)",
    ],
)
def test_layouts_in_short(text):
    with pytest.raises(nas.InputError):
        nas.cost(text)


SIZES = nas.Target(layers=1, width=64, heads=2, mlp_width=64, vocabulary=10)
MISUSES = {
    "open None": lambda folder: nas.open(None),
    "open a number": lambda folder: nas.open(3),
    "open bytes": lambda folder: nas.open(bytes(folder)),
    "open, one text": lambda folder: nas.open(folder, "target.batch=1"),
    "open, numbers": lambda folder: nas.open(folder, [3]),
    "resume, one text": lambda folder: nas.open(folder).resume("search.trials=3"),
    "resume, nothing": lambda folder: nas.open(folder).resume([None]),
    "export to a number": lambda folder: nas.open(folder).export(output=3.5),
    "search a number": lambda folder: nas.search(3),
    "search a mapping": lambda folder: nas.search({}),
    "search into a number": lambda folder: nas.search("smoke", out=3),
    "load nothing": lambda folder: nas.load(None),
    "load, one text": lambda folder: nas.load("smoke", "search.trials=3"),
    "load, a mapping": lambda folder: nas.load("smoke", {"search.trials": 3}),
    "load, bytes": lambda folder: nas.load("smoke", [b"search.trials=3"]),
    "build a number": lambda folder: nas.build(3, SIZES),
    "build at a name": lambda folder: nas.build("gla", at="smoke"),
    "build, a seed of text": lambda folder: nas.build("gla", SIZES, seed="1"),
    "build, a negative seed": lambda folder: nas.build("gla", SIZES, seed=-1),
    "cost of nothing": lambda folder: nas.cost(None),
    "cost of a list": lambda folder: nas.cost(["gla"]),
    "cost at a device": lambda folder: nas.cost("gla", "h100"),
    "cost at a configuration": lambda folder: nas.cost("gla", nas.load("smoke")),
    "evaluate nothing": lambda folder: nas.evaluate(None, "smoke"),
    "a block of nothing": lambda folder: nas.Block(None),
    "a layout of text": lambda folder: nas.Layout("gla"),
    "a layout of texts": lambda folder: nas.Layout(("gla",)),
    "a layout from a descriptor": lambda folder: nas.Layout.load(0),
    "mixers of a number": lambda folder: nas.mixers(3),
}


@pytest.mark.parametrize("call", MISUSES.values(), ids=MISUSES.keys())
def test_wrong_types_from_python(tmp_path, call):
    with pytest.raises(nas.InputError, match="expected"):
        call(made(tmp_path / "run"))
    assert os.listdir(tmp_path) == ["run"] and sorted(os.listdir(tmp_path / "run")) == ["config.yaml", "runs.jsonl"]


@pytest.fixture(params=["pipe", "device", "folder", "long name", "no text", "missing"])
def no_file(request, tmp_path):
    """Something that cannot be read as a file."""
    paths = {"device": "/dev/zero", "long name": tmp_path / ("x" * 300), "no text": os.fsdecode(b"/tmp/\xff.yaml")}
    path = paths.get(request.param, tmp_path / "it")
    if request.param == "pipe":
        os.mkfifo(path)
    if request.param == "folder":
        path.mkdir()
    return path


def test_no_files(tmp_path, no_file):
    run = tmp_path / "run"
    assert "--config" in refused("search", "--config", no_file, "--out", run)
    assert "layout" in refused("evaluate", no_file, "--config", "smoke", *QUIET)
    if str(no_file).isprintable():
        refused("search", "--config", "smoke", "--out", run, *QUIET, f"text.paths=['{no_file}']")
        refused("search", "--config", "smoke", "--out", run, *QUIET, f"target.profile='{no_file}'")
    assert not run.exists()


@pytest.mark.parametrize("name", ["x" * 300, b"\xff"], ids=["long", "no text"])
@pytest.mark.parametrize("command", ["search --out", "status", "resume", "front", "export", "audit", "ui"])
def test_names_of_folders(tmp_path, command, name):
    path = os.path.join(tmp_path, os.fsdecode(name))
    more = ["--config", "smoke", *QUIET] if "search" in command else []
    refused(*command.split(), path, *more)
    assert os.listdir(tmp_path) == []


def made(path, *overrides, runs=6):
    """The folder of a search with some runs."""
    path.mkdir()
    (path / "config.yaml").write_text(nas.load("smoke", [*QUIET, *overrides]).to_yaml())
    records = [
        RunRecord(trial=i, origin=None, layout=layout(i), seed=0, elapsed=1.0, result=result(0, recall=0.1 * i))
        for i in range(runs)
    ]
    (path / "runs.jsonl").write_text("".join(record.to_line() + "\n" for record in records))
    return path


@pytest.mark.parametrize(
    "options",
    [
        ["--layers", "100000000"],
        ["--width", "100000000000000000000"],
        ["--format", "os:system"],
        ["--format", "builtins:print"],
        ["--format", "../../x:y"],
        ["--format", ":"],
        ["--format", "subprocess:Popen"],
        ["--pick", "9" * 5000],
        ["-o", "x" * 300],
        ["--pick", "all", "-o", "/dev/null"],
        ["-o", "/dev/null"],
        ["-o", "."],
        [f"target.context={CONTEXT}"],
    ],
    ids=lambda options: " ".join(options)[:40],
)
def test_exports(tmp_path, options):
    refused("export", made(tmp_path / "run"), *options)


@pytest.mark.parametrize(
    "options", ["--longer 1e300", "--longer nan", "--longer inf", "--seeds 1000000000", "--layouts 1000000000000"]
)
def test_audits(tmp_path, options):
    folder = made(tmp_path / "run")
    refused("audit", folder, *options.split())
    assert sorted(os.listdir(folder)) == ["config.yaml", "runs.jsonl"]


@pytest.mark.parametrize(
    "options",
    [
        *(f"--{what} 1000000000000" for what in ("batches", "contexts", "prompts", "check")),
        *(
            "--batches 1000000000",
            "--contexts 1000000000",
            f"--batches {CONTEXT}",
            f"--contexts {','.join(['1'] * 100)}",
            "-o /dev/null",
            f"-o {'x' * 300}",
        ),
    ],
    ids=lambda options: options[:30],
)
def test_profiles(tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    refused("profile", "--config", "smoke", "--device", "cpu", *options.split())
    assert os.listdir(tmp_path) == []


def record(**changes):
    fields = json.loads(
        RunRecord(trial=0, origin=None, layout=layout(1), seed=0, elapsed=1.0, result=result()).to_line()
    )
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = fields
        for parent in parents:
            place = place[parent]
        place[last] = value
    return json.dumps(fields)


RECORDS = {
    "binary": b"\xff\xfe\x00\n",
    "deep": b"[" * 100_000 + b"\n",
    "a list": b"[]\n",
    "a number": b"3\n",
    "no line": b"\n",
    "text for a number": record(elapsed="soon"),
    "null for a number": record(seed=None),
    "no recall": record(result__recall=float("nan")),
    "recall beyond all": record(result__recall=float("inf")),
    "text for a recall": record(result__recall="much"),
    "text for a score": record(result__accuracy={"recall": "much"}),
    "a status of its own": record(result__status="fine"),
    "no layout": record(layout=None),
    "a layout of numbers": record(layout={"layers": [1, 2]}),
    "a layout too deep": record(layout={"layers": ["gla"] * 5000}),
    "a large seed": record(seed=10**30),
    "a negative trial": record(trial=-1),
    "a list for an origin": record(origin=[1]),
    "a failure of text": record(result=None, failure="no"),
    "more than there is": record(extra=1),
}


@pytest.mark.parametrize("file", ["runs.jsonl", "audit.jsonl"])
@pytest.mark.parametrize("content", RECORDS.values(), ids=RECORDS.keys())
def test_damaged_records(tmp_path, file, content):
    folder = made(tmp_path / "run")
    content = content if isinstance(content, bytes) else content.encode() + b"\n"
    (folder / file).write_bytes((folder / "runs.jsonl").read_bytes() + content)
    line = refused("front", folder)
    assert file in line and ("line 7" in line or "UTF-8" in line)


@pytest.mark.parametrize(
    "name", ["config.yaml", "runs.jsonl", "audit.jsonl", ".lock", "layouts", "front.svg", "front.json", "running.json"]
)
@pytest.mark.parametrize("kind", ["folder", "file", "pipe", "link"])
def test_damaged_folders(tmp_path, name, kind):
    if kind == ("file" if name != "layouts" else "folder"):
        return
    folder = made(tmp_path / "run")
    (folder / name).unlink(missing_ok=True)
    {
        "folder": lambda: (folder / name).mkdir(),
        "file": lambda: (folder / name).write_text("x"),
        "pipe": lambda: os.mkfifo(folder / name),
        "link": lambda: (folder / name).symlink_to(tmp_path / "elsewhere"),
    }[kind]()
    before = sorted(os.listdir(folder))
    line = refused("resume", folder, "search.trials=2")
    assert str(folder) in line
    assert sorted(os.listdir(folder)) == before and sorted(os.listdir(tmp_path)) == ["run"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"' OR 1=1", b"x" * 100_000])
def test_a_damaged_identity_is_made_anew(tmp_path, content):
    from tracking.store import search_id

    (tmp_path / ".tracking_id").write_bytes(content)
    assert re.fullmatch("[0-9a-f]{16}", search_id(tmp_path))


def test_a_damaged_list_of_what_runs(tmp_path):
    folder = nas.open(made(tmp_path / "run")).folder
    for content in (
        b"\xff",
        b"[" * 100_000,
        b"[{}]",
        b'[{"trial": 1, "layout": "a", "seeds": [1], "since": "x"}]',
        b"3",
    ):
        folder.running_jobs.write_bytes(content)
        with folder.lock():
            assert nas.open(folder.path).status().jobs == ()
