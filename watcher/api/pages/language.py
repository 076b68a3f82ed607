"""The language of a page for payers."""

from starlette.requests import HTTPConnection

from watcher.web import texts


def language_of(request: HTTPConnection) -> str:
    """Return the language that a page is asked for in: ``?lang=`` goes before ``Accept-Language``."""
    accepted = ",".join(request.headers.getlist("accept-language"))
    return texts.choose_language(request.query_params.get("lang"), accepted)


def headers_of(language: str) -> dict[str, str]:
    """Return what the answer says of its language."""
    return {"content-language": language, "vary": "accept-language"}
