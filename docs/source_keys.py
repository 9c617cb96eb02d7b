"""What each key of ``registry.toml`` means."""

from gateway.registry import sources

SOURCE_KEYS: dict[type, dict[str, str]] = {
    sources.Sources: {
        "sources": "`[sources.NAME]`: a registry on the network. The name stands in records and in `precedence`.",
        "push": "`[push.NAME]`: who may push events. A sender named as a source is that source.",
        "precedence": "Whom to believe where sources contradict each other, see below.",
        "guard": "`[guard]`: what is held until somebody confirms it.",
    },
    sources.Source: {
        "kind": "How it is asked.",
        "base_url": "Where it is; paths are put behind it. Without TLS only on this machine, or with `plain_http`.",
        "registries": "What it knows; see [registry files](registry.md) for the names.",
        "auth": "`[sources.NAME.auth]`, see below.",
        "paths": "Path of a registry; default: its name.",
        "fields": "`[sources.NAME.fields.REGISTRY]`: the source's name of a field, and our column.",
        "values": "`[sources.NAME.values.REGISTRY.COLUMN]`: the source's value, and ours.",
        "names": "`[sources.NAME.names]`: what the source calls the parts of answers and questions, see below.",
        "paging": "How a page leads to the next: by the cursor in it, or by its number.",
        "page_size": "Rows that a page is asked for.",
        "incremental": (
            "Where a pass goes on: behind the last cursor (the source keeps changes in order), with what has changed "
            "since the last pass, or from the start each time."
        ),
        "since_as": "How a time of ours is written where the source does not tell the moment of its rows.",
        "etag": "What an ETag speaks for: the page that carries it, or the whole registry.",
        "interval_s": "Seconds between two passes; a tenth is left to chance.",
        "timeout_s": "How long one whole answer may take, seconds.",
        "retries": "How often a request is repeated before the pass gives up.",
        "rate_per_s": "Requests a second on average; one second's worth may go at once.",
        "breaker": "`[sources.NAME.breaker]`, see below.",
        "max_lag_s": (
            "How old, by the source's own word, rows may be for a pass to confirm, seconds; 0: whatever it says. "
            "Asked without ETag then, since an unchanged answer does not tell its age."
        ),
        "lookup": "Path under which one person is found, with `{operator_id}`; empty: the source has none.",
        "lookup_timeout_s": "How long a look-up may take, seconds: somebody waits at a machine.",
        "required": "Whether the source has to be fresh for anybody to be let in.",
        "skip_bad_rows": "Leave bad rows out and confirm all the same; else they are asked for in every pass.",
        "plain_http": "Ask without TLS although the source is elsewhere: whoever is on the way can forge certificates.",
        "ca_file": "PEM file of the authorities to trust; empty: the system's.",
    },
    sources.Auth: {
        "kind": "Nothing, a bearer token, user and password, or a header of the source's own.",
        "token_env": "Environment variable that holds the token or password.",
        "token_file": "File that holds it, readable by its owner alone.",
        "user": "The user, of `basic`.",
        "header": "The header's name, of `header`.",
    },
    sources.Breaker: {
        "failures": "Failed requests in a row after which the source is left alone.",
        "open_s": "For how long, seconds; then one request tries.",
    },
    sources.Names: {
        "rows": "Answer: the list of rows.",
        "count": "Answer: how many rows are on the page; where it is there, it has to be right.",
        "next": "Answer: the cursor that leads on.",
        "more": "Answer: whether a further page is there now. Without it: if there is a cursor or, by number, a row.",
        "as_of": "Answer: the moment that the rows are of, Unix milliseconds or ISO 8601 with a zone.",
        "cursor": "Question: the cursor.",
        "limit": "Question: rows wanted.",
        "page": "Question: the page's number, from 1.",
        "updated_since": "Question: rows changed since.",
    },
    sources.Sender: {
        "secret_env": "Environment variable that holds the secret of the signatures.",
        "secret_file": "File that holds it, readable by its owner alone.",
    },
    sources.GuardTable: {
        "share_percent": "A change that takes the right to weld from more of all people than this is held, percent.",
        "at_least": "But only if it takes it from at least so many.",
    },
}
