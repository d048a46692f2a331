"""Errors that carry numbers: completed on their way up, once, and the same object all the way."""

import copy
import pickle

import numpy as np
import pytest

from lumigraph.events.errors import EventError, SchemaError, located


def test_the_text_is_made_of_the_fields():
    error = EventError("column 'ht' is nan", event=3, column="ht")
    assert str(error) == error.detail == "event 3: column 'ht' is nan"
    error.file, error.event = "a.root", 17
    assert str(error) == "a.root: event 17: column 'ht' is nan"
    assert error.detail == "event 17: column 'ht' is nan"
    assert str(SchemaError("column 'ht' is missing", file="a.root")) == "a.root: column 'ht' is missing"
    assert str(EventError()) == str(SchemaError()) == ""


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_fields_survive_pickling(again):
    error = EventError("x", event=3, column="ht", file="a.root")
    error.add_note("a note")
    assert type(again(error)) is EventError
    assert vars(again(error)) == vars(error)
    assert str(again(error)) == str(error)


def test_an_error_is_completed_once_and_stays_the_same_object():
    error = EventError("x", event=1)
    with pytest.raises(EventError) as caught, located("c.root", 7), located("b.root", 1000), located(None, [10, 20]):
        raise error
    assert caught.value is error
    assert (error.event, error.file) == (1020, "b.root")
    assert type(error.event) is int


def test_numbers_of_events_may_be_an_array_and_an_error_without_one_gets_the_file_alone():
    error = EventError("x", event=1)
    with pytest.raises(EventError), located("a.root", np.array([5, 6])):
        raise error
    assert (error.event, type(error.event), error.file) == (6, int, "a.root")
    whole, cause = SchemaError("x", column="ht"), OSError("broken")
    with pytest.raises(SchemaError) as caught, located("a.root", 100):
        raise whole from cause
    assert caught.value is whole
    assert (whole.file, whole.column, whole.__cause__) == ("a.root", "ht", cause)


@pytest.mark.parametrize(
    "error", [ValueError("event 4711 of the calibration is missing"), IndexError("event 3"), OSError()]
)
def test_errors_of_others_pass_untouched(error):
    text = str(error)
    with pytest.raises(type(error)) as caught, located("a.root", 100):
        raise error
    assert caught.value is error
    assert str(error) == text
    assert error.__cause__ is None
    assert not error.__suppress_context__
