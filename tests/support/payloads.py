"""JSON texts that a parser on the way would change, and the example payloads of a large publisher of webhooks."""

import json
from collections.abc import Iterator
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "node" / "node_modules" / "@octokit" / "webhooks-examples"

AWKWARD = {
    "integers around 2^63": '{"a":9223372036854775807,"b":9223372036854775808,"c":-9223372036854775809}',
    "integers around 2^64": "[18446744073709551615,18446744073709551616,-18446744073709551616]",
    "integers around 2^53": "[9007199254740991,9007199254740992,9007199254740993]",
    "thirty digits": '{"price":123456789012345678901234567890.123456789012345678901234567890}',
    "thirty decimals": "0.123456789012345678901234567890",
    "minus zero": "[-0,-0.0,0,0.0,-0e0]",
    "one in several spellings": "[1,1.0,1.00,1e0,1E0,1E+0,10e-1]",
    "beyond a double": "[1E400,-1e400,1e-400]",
    "exponents": "[1e5,1E5,1e+05,1E-05]",
    "escapes": r'{"a":"\"\\\/\b\f\n\r\t","\u0061":"\u00e9\u00E9"}',
    "an escaped slash and a plain one": r'["\/","/"]',
    "a lone high surrogate": r'{"s":"\ud800"}',
    "a lone low surrogate": r'{"s":"\udc00 \uDFFF"}',
    "surrogates in the wrong order": r'"\udc00\ud800"',
    "a surrogate pair, escaped and not": r'["\ud83d\ude00","😀"]',
    "an escaped NUL": r'{"nul":"\u0000"}',
    "DEL and C1 controls": '"\x7f\u0080\u009f"',
    "unicode": '{"name":"Zoë Čapek","日本":"語","עברית":"rtl","e\u0301":"\u00e9"}',
    "line separators and a byte order mark inside": '"\u2028\u2029\ufeff"',
    "noncharacters": '"\ufffe\uffff\U0010ffff"',
    "key order": '{"z":1,"a":2,"m":{"y":1,"b":2},"10":1,"9":2}',
    "duplicate keys": '{"a":1,"a":2,"b":{"c":1,"c":{"c":2}}}',
    "an empty key": '{"":""}',
    "keys that a language reserves": '{"__proto__":{"a":1},"constructor":null,"toString":1}',
    "white space inside": '{ "a" :\t[ 1 ,\r\n 2 ]\n,\r "b" : { } }',
    "empty values": '[{},[],"",null,true,false]',
    "null": "null",
    "true": "true",
    "a number": "42",
    "a string": '"only a string"',
    "an empty array": "[]",
    "markup": '"<script>alert(1)</script>&amp;\'--%s{{7*7}}${x}"',
    "a text like our own envelope": '{"tenant":"other","type":"order.completed","payload":{"payload":1}}',
    "deep nesting": "[" * 100 + "]" * 100,
    "a long string": '"' + "é" * 60_000 + '"',
    "many members": "{" + ",".join(f'"k{number}":{number}.0' for number in range(5_000)) + "}",
}


def examples() -> Iterator[tuple[str, str]]:
    """The name and the text of every published example; the texts differ in white space and escapes."""
    files = sorted(EXAMPLES.glob("*/index.json"))
    assert files, f"no examples in {EXAMPLES}: run ./test, or npm ci in tests/node"
    styles = [{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}]
    count = 0
    for file in files:
        for kind in json.loads(file.read_text()):
            for example in kind["examples"]:
                yield f"{kind['name']}-{count}", json.dumps(example, **styles[count % len(styles)])
                count += 1
