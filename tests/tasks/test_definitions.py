"""The tasks against their definitions, by checkers that walk through one sequence at a time."""

from collections import Counter
from itertools import pairwise

import pytest
import torch

from search_space.errors import InputError
from workers.suite.corpus import load_corpus, read_documents
from workers.suite.language import sentences, successors
from workers.suite.task import IGNORED
from workers.tasks.fuzzy_recall import FuzzyRecall
from workers.tasks.mqar import MQAR
from workers.tasks.multi_key import MultiKey
from workers.tasks.multi_query import MultiQuery
from workers.tasks.needle import Needle
from workers.tasks.noisy_recall import NoisyRecall
from workers.tasks.overwrites import Overwrites
from workers.tasks.recall import Recall
from workers.tasks.selective_copying import SelectiveCopying
from workers.tasks.text import Bigrams, Text, recall_hits
from workers.tasks.variable_tracking import VariableTracking
from workers.testing.tasks import generator


def rows(batch):
    return zip(batch.tokens.tolist(), batch.labels.tolist(), strict=True)


def check_pairs(tokens, labels, keys, values):
    """Reads key-value pairs with anything else between them; returns how many different keys came."""
    known, position = {}, 0
    while position < len(tokens):
        token = tokens[position]
        if token >= keys:
            assert labels[position] == IGNORED
            position += 1
            continue
        if position + 1 == len(tokens):
            break
        value = tokens[position + 1]
        assert keys <= value < keys + values and labels[position + 1] == IGNORED
        assert labels[position] == (value if token in known else IGNORED)
        assert known.setdefault(token, value) == value
        position += 2
    return len(known)


@pytest.mark.parametrize("length", [64, 51])
def test_recall(length):
    task = Recall(length=length, pairs=(4, 8, 16))
    for (tokens, labels), k in zip(rows(task.test_batch(9, generator())), [4, 8, 16] * 3, strict=True):
        assert check_pairs(tokens, labels, 32, 32) == k


@pytest.mark.parametrize(("length", "chains", "hops"), [(40, (1, 4), 3), (31, (2, 5), 2)])
def test_variable_tracking(length, chains, hops):
    task = VariableTracking(length=length, chains=chains, hops=hops)
    batch = task.test_batch(40, generator())
    for (tokens, labels), group, count in zip(rows(batch), batch.group.tolist(), chains * 20, strict=True):
        end = 2 * count * hops
        source = {}
        for variable, value in zip(tokens[:end:2], tokens[1:end:2], strict=True):
            assert variable < 16 and variable not in source and (value in source or 16 <= value < 32)
            source[variable] = value
        assert tokens[end] == 32 and set(labels[: end + 1]) == {IGNORED}
        questions = tokens[end + 1 : end + 1 + len(source)]
        assert set(questions) == set(source) and set(tokens[end + 1 + len(source) :]) <= {32}
        for place, variable in enumerate(questions, end + 1):
            way = [variable]
            while way[-1] in source:
                way.append(source[way[-1]])
            assert labels[place] == way[-1] and group[place] == len(way) - 2
        values = [label for label in labels if label != IGNORED]
        assert set(Counter(values).values()) == {hops} and len(set(values)) == count


def test_the_curriculum_starts_with_the_smallest():
    task = Recall(length=64, pairs=(2, 16))
    early, late = (
        {len(set(t[0::2]) - {64}) for t, _ in rows(task.train_batch(40, progress, generator()))}
        for progress in (0.0, 1.0)
    )
    assert early == {2} and max(late) == 16


def test_noise_keeps_pairs_whole_and_takes_its_share():
    task = NoisyRecall(length=100, noise_share=0.3, pairs=(4, 8))
    for (tokens, labels), k in zip(rows(task.test_batch(8, generator())), [4, 8] * 4, strict=True):
        assert check_pairs(tokens, labels, 32, 32) == k
        assert sum(t >= 65 for t in tokens) == 30


@pytest.mark.parametrize(("m", "width"), [(2, 1), (3, 1), (2, 3)])
def test_fuzzy_recall(m, width):
    task = FuzzyRecall(length=80, key_tokens=(m,), value_tokens=width, pairs=(4, 6), alphabet=4)
    for (tokens, labels), k in zip(rows(task.test_batch(8, generator())), [4, 6] * 4, strict=True):
        known, size = {}, m + width
        for begin in range(0, len(tokens) - size + 1, size):
            statement = tokens[begin : begin + size]
            key, value = tuple(statement[:m]), statement[m:]
            assert [t // 4 for t in key] == list(range(m)), "every position has its own alphabet"
            expected = [IGNORED] * size
            if key in known:
                expected[m - 1 : -1] = value
            assert labels[begin : begin + size] == expected
            assert known.setdefault(key, value) == value
        assert len(known) == k


def test_mqar_is_zoologys():
    task = MQAR(length=128, tokens=64, pairs=(8,), passes=2)
    for tokens, labels in rows(task.test_batch(50, generator())):
        keys, values = tokens[:16:2], tokens[1:16:2]
        assert tokens[16:32] == tokens[:16]
        assert len(set(keys)) == len(set(values)) == 8
        assert all(1 <= key < 32 for key in keys) and all(32 <= value < 64 for value in values)
        asked = [i for i, label in enumerate(labels) if label != IGNORED]
        assert len(asked) == 8 and all(i >= 32 and i % 2 == 0 for i in asked)
        assert {tokens[i]: labels[i] for i in asked} == dict(zip(keys, values, strict=True))


def test_mqar_asks_soon_by_a_power_law():
    task = MQAR(length=256, tokens=64, pairs=(1,))
    labels = task.test_batch(4000, generator()).labels
    slots = ((labels != IGNORED).float().argmax(1) - 2) // 2
    weight = torch.arange(1, 128).double() ** (0.01 - 1)
    share = Counter(slots.tolist())
    for slot in (0, 1, 5):
        assert share[slot] / 4000 == pytest.approx(float(weight[slot] / weight.sum()), abs=0.025)


def test_mqar_filler():
    quiet = MQAR(length=64, tokens=64, pairs=(2,), random_filler=False).test_batch(4, generator())
    assert (quiet.tokens[:, 4:] != 0).sum() == 8
    assert (MQAR(length=64, tokens=64, pairs=(2,)).test_batch(4, generator()).tokens[:, 4:] != 0).sum() > 200


@pytest.mark.parametrize("noise", [1, 5])
def test_selective_copying(noise):
    task = SelectiveCopying(length=40, copied=(3, 7), noise=noise)
    seen = set()
    for (tokens, labels), k in zip(rows(task.test_batch(8, generator())), [3, 7] * 4, strict=True):
        content = [t for t in tokens if t < 16]
        assert len(content) == k and [label for label in labels if label != IGNORED] == content
        mark = 16 + noise
        assert [i for i, t in enumerate(tokens) if t == mark] == [i for i, t in enumerate(labels) if t != IGNORED]
        seen |= set(tokens)
    assert set(range(16, 16 + noise)) <= seen <= set(range(17 + noise))


@pytest.mark.parametrize("gap", [0, 2])
@pytest.mark.parametrize(("m", "width"), [(1, 1), (2, 1), (3, 2)])
def test_multi_key(m, width, gap):
    task = MultiKey(length=90, key_tokens=(m,), value_tokens=width, keys=(2, 5), gap=gap, questions=3)
    size, first_value = m + gap + width, m * task.alphabet
    for (tokens, labels), k in zip(rows(task.test_batch(8, generator())), [2, 5] * 4, strict=True):
        turns, distances = k + min(k, 3), set()
        rounds, known = 90 // (turns * size), {}
        for turn in range(rounds * turns):
            part, due = (x[turn * size : (turn + 1) * size] for x in (tokens, labels))
            places = [i for i, t in enumerate(part) if t < first_value]
            key, value = tuple(part[i] for i in places), part[-width:]
            assert [t // task.alphabet for t in key] == list(range(m)) and places[-1] == m + gap - 1
            assert min(value) >= first_value
            assert [t for i, t in enumerate(part[:-width]) if i not in places] == [task.vocabulary - 1] * gap
            if turn % turns == 0:
                known = {}
            if turn % turns < k:
                assert key not in known and set(due) == {IGNORED}
                known[key] = value
            else:
                assert known.pop(key) == value, "a key is asked for once"
                assert due == [IGNORED] * (m + gap - 1) + value + [IGNORED]
            distances.add(places[0])
        assert set(labels[rounds * turns * size :]) <= {IGNORED}
        assert m == 1 or gap == 0 or len(distances) > 1


@pytest.mark.parametrize(("m", "keys"), [(2, 4), (2, 9), (3, 8)])
def test_no_part_of_a_key_is_its_own(m, keys):
    """With r ** m keys, every token at every place is in as many keys as any other."""
    for tokens, _ in rows(MultiKey(length=96, key_tokens=(m,), keys=(keys,)).test_batch(4, generator())):
        shown = [tuple(tokens[i : i + m]) for i in range(0, keys * (m + 1), m + 1)]
        r = round(keys ** (1 / m))
        assert all(sorted(Counter(column).values()) == [keys // r] * r for column in zip(*shown, strict=True))
        assert len(set(shown)) == keys


def test_overwrites():
    task = Overwrites(length=60, keys=16, values=8, rebound=0.34, pairs=(3, 6, 9), questions=8)
    orders = set()
    for (tokens, labels), k in zip(rows(task.test_batch(30, generator())), [3, 6, 9] * 10, strict=True):
        stated = k + k // 3
        turns = stated + min(k, 8)
        rounds = 30 // turns
        due = [IGNORED] * 60
        for begin in range(0, 2 * rounds * turns, 2 * turns):
            asking, end = begin + 2 * stated, begin + 2 * turns
            known = dict(zip(tokens[begin:asking:2], tokens[begin + 1 : asking : 2], strict=True))  # the latest
            times = Counter(tokens[begin:asking:2])
            assert sorted(times.values()) == [1] * (k - k // 3) + [2] * (k // 3)
            assert max(known) < 16 <= min(known.values()) and max(known.values()) < 24
            orders.add(tuple(times[key] for key in tokens[begin:asking:2]))
            for i in range(asking, end, 2):
                assert tokens[i + 1] == known.pop(tokens[i]), "each once, with its latest value"
                due[i] = tokens[i + 1]
        assert labels == due and set(tokens[2 * rounds * turns :]) <= {24}
    assert len(orders) > 20, "keys that are bound anew lie anywhere"


def test_multi_query():
    task = MultiQuery(length=40, keys=10, values=8, pairs=5, asked=(1, 3))
    for (tokens, labels), q in zip(rows(task.test_batch(8, generator())), [1, 3] * 4, strict=True):
        known = dict(zip(tokens[:10:2], tokens[1:10:2], strict=True))
        assert len(known) == 5 and max(known) < 10 <= min(known.values())
        questions = 30 // (2 * q)
        due = [IGNORED] * 40
        for begin in range(10, 10 + questions * 2 * q, 2 * q):
            asked = tokens[begin : begin + q]
            assert len(set(asked)) == q and tokens[begin + q : begin + 2 * q] == [18] * q
            due[begin + q : begin + 2 * q] = [known[key] for key in asked]
        assert labels == due


def test_a_language_is_the_same_in_all_sequences_and_easy_to_predict():
    tokens = sentences(64, 200, 32, generator())
    assert tokens.min() == 0 and tokens.max() == 31
    likely = successors(32)[tokens[:, :-1], 0]
    assert (tokens[:, 1:] == likely).float().mean() == pytest.approx(0.5, abs=0.03)
    counts = torch.zeros(32, 32).index_put_((tokens[:, :-1], tokens[:, 1:]), torch.tensor(1.0), accumulate=True)
    share = counts / counts.sum(1, keepdim=True)
    bits = -(share * share.clamp(min=1e-9).log2()).sum(1)
    assert (counts.sum(1) / counts.sum() * bits).sum() < 2.5


@pytest.mark.parametrize("width", [8, 2])
def test_needles_with_long_values_in_a_language(width):
    task = Needle(length=120, needles=(1, 3), value_tokens=width, haystack="language", hay=24, questions=2)
    mark, question = task.vocabulary - 2, task.vocabulary - 1
    for (tokens, labels), k in zip(rows(task.test_batch(10, generator())), [1, 3] * 5, strict=True):
        found = {tokens[i + 1]: tokens[i + 2 : i + 2 + width] for i, t in enumerate(tokens) if t == mark}
        asked = [i for i, t in enumerate(tokens) if t == question]
        due = [IGNORED] * len(tokens)
        for turn, i in enumerate(asked):
            value = tokens[i + 2 : i + 2 + width]
            assert value == found[tokens[i + 1]] and all(task.keys <= t < task.keys + task.values for t in value)
            if turn < k:
                due[i + 1 : i + 1 + width] = value
        assert len(asked) == 2 and len(found) == k and labels == due
        assert sum(task.keys + task.values <= t < mark for t in tokens) == 120 - (2 + width) * (k + 2)


def test_needles_are_whole_and_answer_the_questions():
    task = Needle(length=90, needles=(1, 4, 8))
    mark, question = task.vocabulary - 2, task.vocabulary - 1
    for (tokens, labels), k in zip(rows(task.test_batch(30, generator())), [1, 4, 8] * 10, strict=True):
        found = {tokens[i + 1]: tokens[i + 2] for i, t in enumerate(tokens) if t == mark}
        assert len(found) == k and sum(t == mark for t in tokens) == k
        asked = [i for i, t in enumerate(tokens) if t == question]
        assert len(asked) == task.questions
        due = [IGNORED] * len(tokens)
        for turn, i in enumerate(asked):
            assert tokens[i + 2] == found[tokens[i + 1]]
            if turn < k:
                due[i + 1] = tokens[i + 2]
        assert labels == due
        assert len({tokens[i + 1] for i in asked}) == min(k, task.questions), "all before one comes again"
        context = tokens[: asked[0]]
        hay = [t for t in context if task.keys + task.values <= t < mark]
        assert len(hay) == len(context) - 3 * k and len(set(hay)) <= task.phrase


def test_hits_complete_a_bigram_seen_before():
    tokens = torch.randint(5, (4, 30), generator=generator())
    for row, hits in zip(tokens.tolist(), recall_hits(tokens).tolist(), strict=True):
        seen = set()
        for pair, hit in zip(pairwise(row), hits, strict=True):
            assert hit == (pair in seen)
            seen.add(pair)


def test_common_bigrams_are_those_of_the_training_text():
    stream = torch.tensor([1, 2, 1, 2, 1, 3, 1, 2, 4])  # 2 follows 1 three times of four, 3 once
    bigrams = Bigrams(stream, 6)
    found = bigrams.common(torch.tensor([[1, 2, 4, 1, 3, 5, 1]]), 0.5)
    assert found.tolist() == [[True, False, False, False, False, False]]
    assert bigrams.common(torch.tensor([[1, 3, 1]]), 0.2).tolist() == [[True, True]]


def test_text_recall_leaves_out_what_the_training_text_tells():
    text, every = (Text(length=64, **option) for option in ({"common": 0.2}, {}))
    some, all_hits = (task.test_batch(8, generator()) for task in (text, every))
    assert torch.equal(all_hits.group == 0, recall_hits(torch.cat([all_hits.tokens, all_hits.labels[:, -1:]], 1)))
    rare = some.group == 0
    assert 0 < rare.sum() < (all_hits.group == 0).sum() and (all_hits.group[rare] == 0).all()


def test_training_leaves_out_tokens_that_recall_does_not_give():
    whole, most = (Text(length=64, left_out=share).train_batch(32, 0.0, generator()) for share in (0.0, 0.9))
    assert torch.equal(whole.tokens, most.tokens) and (whole.labels != IGNORED).all()
    hits = recall_hits(torch.cat([whole.tokens, whole.labels[:, -1:]], 1))
    learnt = most.labels != IGNORED
    assert learnt[hits].all() and torch.equal(most.labels[learnt], whole.labels[learnt])
    assert 0.07 < learnt[~hits].float().mean() < 0.13
    assert (Text(length=64, left_out=0.9).test_batch(8, generator()).labels[:, 1:] != IGNORED).all()


def test_all_is_learnt_where_nothing_recurs():
    batches = [Text(length=4, left_out=0.999).train_batch(1, 0.0, generator(seed)) for seed in range(30)]
    hits = [recall_hits(torch.cat([b.tokens, b.labels[:, -1:].clamp(min=0)], 1)).any() for b in batches]
    assert not all(hits)
    assert all((b.labels != IGNORED).all() for b, hit in zip(batches, hits, strict=True) if not hit)


def test_text_windows_come_from_documents_of_their_own(tmp_path):
    for i in range(20):
        (tmp_path / f"{i:02d}.txt").write_text(f"{chr(97 + i)} " * 300)
    corpus = load_corpus((str(tmp_path),), 300, 10**6)
    # Each file repeats one letter and a space: only the space can occur on both sides of the split.
    assert len(set(corpus.train.tolist()) & set(corpus.test.tolist())) == 1 and len(set(corpus.test.tolist())) == 3


def test_no_copy_of_a_training_document_is_tested(tmp_path):
    for i in range(30):
        (tmp_path / f"{i:02d}.txt").write_text("the same text in every file " * 40)
    assert len(read_documents((str(tmp_path), str(tmp_path / "00.txt")), 10**6)) == 1


def test_files_that_stand_for_a_large_folder_are_spread_over_it(tmp_path):
    for i in range(100):
        (tmp_path / f"{i:02d}.txt").write_text(f"{i} " * 10_000)
    read = sorted(int(d.split()[0]) for d in read_documents((str(tmp_path),), 400_000))
    assert len(read) == 20 and min(read) < 25 and max(read) >= 75


@pytest.mark.parametrize("relative", [True, False])
def test_a_folder_may_lie_below_dots(tmp_path, monkeypatch, relative):
    """Hidden files are passed over inside a folder; where the folder itself lies does not matter."""
    folder, inside = tmp_path / ".hidden" / "texts", tmp_path / ".hidden" / "texts" / ".git"
    inside.mkdir(parents=True)
    (folder / "a.txt").write_text("text")
    (inside / "b.txt").write_text("not text of the user's")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = "../.hidden/texts" if relative else str(folder)
    assert read_documents((path,), 1000) == ["text"]


def test_a_share_may_end_inside_a_character(tmp_path):
    (tmp_path / "a").write_text("ü" * 50)
    assert read_documents((str(tmp_path),), 33) == ["ü" * 16]


def test_text_is_the_same_every_time(tmp_path):
    (tmp_path / "a.txt").write_text("the cat sat on the mat. " * 500)
    paths = (str(tmp_path / "a.txt"),)
    one = load_corpus(paths, 300, 10**6)
    load_corpus.cache_clear()
    other = load_corpus(paths, 300, 10**6)
    assert torch.equal(one.train, other.train) and torch.equal(one.test, other.test)


def test_binary_files_in_a_folder_are_passed_over(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    (tmp_path / "b.txt").write_text("text")
    assert read_documents((str(tmp_path),), 1000) == ["text"]


def test_the_cap_on_bytes_shares_out_over_files(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text(name * 100_000)
    documents = read_documents((str(tmp_path),), 80_000)
    assert Counter(d[0] for d in documents) == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    "content",
    [b"", b"   ", b"\x00binary\xff", b"short", "größer ".encode("latin-1") * 500_000],
    ids=["empty", "blank", "binary", "short", "large and not UTF-8"],
)
def test_text_that_cannot_be_used(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(InputError, match="paths"):
        Text(length=32, paths=(str(tmp_path / "file"),))
