"""What schemathesis cannot know: which requests contradict themselves, what each role may do, and that answers are described in full."""

import os

import schemathesis

ROLES = ["read", "operate", "admin"]
ROLE = os.environ["RAFTBOOT_ROLE"]
# The tokens of this run: without them there would be nothing but 401.
OWN_TOKENS = os.environ.get("RAFTBOOT_OWN_TOKENS", "").split()


def close(schema):
    """Forbids fields of answers that are not described: the document leaves room for later ones, this run does not."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            schema.setdefault("additionalProperties", False)
        for value in schema.values():
            close(value)
    elif isinstance(schema, list):
        for value in schema:
            close(value)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    schemas = raw_schema["components"]["schemas"]
    for name, schema in schemas.items():
        # Parts of requests that are put together of others.
        if not name.endswith("Item"):
            close(schema)
    for item in raw_schema["paths"].values():
        for method, operation in item.items():
            if method != "parameters":
                close(operation["responses"])
    close(raw_schema["components"]["responses"])


@schemathesis.hook
def before_call(context, case, kwargs):
    # They exclude each other, which OpenAPI cannot say.
    meant_well = case.meta is not None and case.meta.generation.mode.is_positive
    if meant_well and "If-Match" in (case.headers or {}):
        case.headers.pop("If-None-Match", None)
    operation = case.operation.definition.raw.get("operationId")
    if operation in ("deleteToken", "rotateToken") and (case.path_parameters or {}).get("id") in OWN_TOKENS:
        case.path_parameters["id"] = "of-nobody"


def whole_numbers(value):
    """Integers as the API takes them: JSON Schema says that 7.0 is one too."""
    if isinstance(value, dict):
        return {name: whole_numbers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [whole_numbers(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@schemathesis.hook
def map_body(context, body):
    body = whole_numbers(body)
    # The id is in the path already; one made up would be another.
    if context.operation.definition.raw.get("operationId") in ("putProfile", "putGroup") and isinstance(body, dict):
        if isinstance(body.get("id"), str):
            del body["id"]
    # Bytes can be promised for a rehearsal only.
    if isinstance(body, dict) and body.get("promised") and "dry_run" in body:
        body["dry_run"] = True
    return body


def needed(case):
    ways = case.operation.definition.raw.get("security") or []
    return ROLES.index(ways[0]["token"][0]) if ways else None


@schemathesis.check
def roles_are_kept(ctx, response, case):
    """Who may not is told so, whatever is wrong with the request; who may is not."""
    role = needed(case)
    declared = {method.upper() for method in case.operation.schema[case.operation.path]}
    # Requests without this run's token, and those to other paths and methods, are judged elsewhere.
    if role is None or case.method.upper() not in declared:
        return
    code = (response.headers.get("content-type") or [""])[0].startswith("application/json") and response.json().get("code")
    if response.status_code == 401 or code in ("no_such_path", "method_not_allowed"):
        return
    if ROLES.index(ROLE) < role:
        assert response.status_code == 403, f"{ROLE} may not do this, and was answered {response.status_code}"
    elif response.status_code == 403:
        # Settings in an `apply` take more than the rest of it.
        assert case.operation.definition.raw.get("operationId") == "apply", f"{ROLE} may do this, and was refused"


@schemathesis.check
def codes_are_described(ctx, response, case):
    """A code that programs are to branch on is in the document."""
    if response.status_code < 400 or case.method.upper() == "HEAD":
        return
    known = case.operation.schema.raw_schema["components"]["schemas"]["Code"]["x-extensible-enum"]
    body = response.json()
    for problem in [body, *body.get("errors", [])]:
        assert problem["code"] in known, f"the code {problem['code']} is not in the document"
