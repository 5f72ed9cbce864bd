"""Why the study's store says no, apart for those who must answer differently."""

from __future__ import annotations

from onenex.errors import StudyError


class NotYours(StudyError):
    """No such presentation, or another reader's: told alike, so that nobody learns which."""


class Closed(StudyError):
    """Nothing may be changed any more, or not yet: finished, session not open, or unblinded."""


class Outdated(StudyError):
    """The answer was changed elsewhere since this page was loaded."""


class Improper(StudyError):
    """An answer that the question does not allow, or one that is missing."""
