"""Answers that break templates, by question: used by the tests and to measure other templates."""

ACCEPTED_TEXTS = (
    # Quotes of every kind, alone and in runs
    *("'", '"', '""', '"""', "'''", "`", "```", 'Ann "Q" O\'Neil', "it's", '"quoted"'),
    *("‘’“”«»„", "´"),
    # Backslashes, and texts that look like an escape
    *("\\", "\\\\", "back\\slash", "ends in \\", '\\"', "\\n \\t \\x41 \\u0041"),
    *("\\N{BULLET}", "C:\\new"),
    # Braces, and texts that Jinja, Python, a shell, GitHub and make would run
    *("{", "}", "{}", "{0}", "{{", "}}", "{%", "%}", "{#", "#}", "{{ 7 * 7 }}", "{% raw %}"),
    *("{% endraw %}", "{{ cookiecutter.email }}", "{% if x %}", "# jinja: if x"),
    *("# jinja: endif", "{{ cycler.__init__.__globals__ }}", "${{ github.token }}"),
    *("${HOME}", "$HOME", "$(id)", "$$", "%s", "%(x)s", "100 %", "%PATH%", "!important"),
    *("a; b", "a && b", "a | b", "a > b", "`id`", '"""; import os; os.abort()  # "'),
    *('"); print("x', "f'{x}'", "<%= x %>", "__import__('os')"),
    # Texts that YAML and TOML read as other types
    *("yes", "no", "null", "~", "true", "on", "1", "1.0", "0x10", "1e3", "2020-01-01"),
    *("12:30", "=", "<<", "- item", "key: value", "? key", "a #b", "# comment", "&anchor"),
    *("*alias", "!!tag", "@at", "%tag", "[table]", "[[array]]", "a = b", "---", "...", ">"),
    *("|", ",", ":", "-", "--", "?x"),
    # Markdown and HTML
    *("# heading", "## x ##", "> quote", "1. item", "12) item", "+ item", "* item"),
    *("*a* **b** _c_ __d__", "~~x~~", "[a](b)", "![a](b)", "[a]: b", "<b>", "</p>"),
    *("<script>alert(1)</script>", "<!-- -->", "&amp;", "&#65;", "&lt;", "a & b"),
    *("<https://example.com>", "https://example.com", "$x$", "a|b", "===", "***", "___"),
    *("]]>", "<![CDATA[", '" onload="x', "a  b", ":smile:", "[ ] task"),
    # Scripts, emoji, combining and invisible characters, and the end of Unicode
    *("Zo\u00eb", "Zoe\u0308", "日本語のサービス", "Цены", "مرحبا", "עברית", "ไทย", "\U0001f34f"),
    *("👩‍👩‍👧", "🇫🇷", "ß İ ı", "ﬁ", "a\u0301", "a\u00a0b", "a\u200bb", "a\u00adb"),
    *("a\u3000b", "\U0001d54f", "\ue000", "\U0010fffd", "\ufffd", "…", "—", "Ωμέγα", "№ 5"),
    *("x²", "x" * 100, "\u00e9" * 100, "\U0001f34f" * 100),
)  # fmt: skip

REFUSED_TEXTS = (
    *("", " ", "\t", "\n", "a\nb", "a\r\nb", "a\rb", "a\tb", "\x00", "a\x00b", "\x07"),
    *("\x1b[31mred", "\x7f", "\x85", "\x9b", "\u2028", "\u2029", "\u202eturned"),
    *("\u2066x\u2069", "\u200f", "\u061c", " padded", "padded ", "\u00a0padded"),
    *("\ufeffmark", "\ufffe", "\uffff", "\ud83d"),
)  # fmt: skip

REFUSED_NAMES = (
    # Ways out of a folder
    *("../../x/y", "..", ".", "/absolute/path", "a/b", "a\\b", "..\\..\\x", "C:\\x", "c:"),
    *("\\\\host\\x", "~", "~root", "a/../b", "./a", "a/", "//x", "file:x", "x\x00y", "x\n"),
    *("\nx", "x\n../y"),
    # Invalid names
    *("", " ", "-", "_", "-x", "x-", "_x", "x_", "x--y", "x__y", "x y", "X", "1x", "x.y"),
    *(".x", "naïve", "x'", 'x"', "x;y", "$x", "`x`", "{{ 7 * 7 }}"),
    *("{{cookiecutter.email}}", "{x}", "x%y", "x" * 51, "--help", "-rf", "e\u0301", "ｘ"),
    *("ı", "x\u200by", "日本", "x\u202ey"),
    # A name with another meaning
    *("class", "match", "case", "type", "import", "json", "asyncio", "http", "test"),
    *("crypt", "annotationlib", "flask", "werkzeug", "httpx", "greenlet", "attr", "src"),
    *("tests", "docs", "pip", "uv", "python", "activate", "con", "prn", "aux", "nul"),
    *("com1", "lpt9"),
)  # fmt: skip

# The template accepts each of these answers, and the files of the service keep it unchanged.
ACCEPTED = {
    "project_name": ACCEPTED_TEXTS,
    "project_slug": ("x", "a1", "a-b-c", "none", "x" * 50),
    "package_name": ("x", "a1", "a_b_c", "none", "x" * 50),
    "project_description": (*ACCEPTED_TEXTS, "x" * 500),
    "full_name": ACCEPTED_TEXTS,
    "email": (
        *("a@b", "a+b@example.com", "o'neil@example.com", "\u00fc@ex\u00e4mple.com", "{{7*7}}@x"),
        *("$HOME@x.example", "`id`@x", "%s@x", "a&b@x", "#@x", "*a*@_b_", "a@" + "x" * 252),
    ),
    "github_username": ("a", "A-b-9", "9x", "a_b.c", "Group/sub-group/team", "x" * 100),
}

# The template refuses each of these answers.
REFUSED = {
    "project_name": (*REFUSED_TEXTS, "x" * 101),
    "project_slug": REFUSED_NAMES,
    "package_name": REFUSED_NAMES,
    "project_description": (*REFUSED_TEXTS, "x" * 501),
    "full_name": (*REFUSED_TEXTS, "x" * 101),
    "email": (
        *("", "a", "@", "a@", "@b", "a b@c", 'a"@b', "<a@b>", "a@b, c@d", "a@b\n", "a\\@b", "a@@b"),
        *("a@b;c", "a@" + "x" * 253, "a@\u202eb"),
    ),
    "github_username": (
        *("", "-a", "a-", "a--b", "a__b", "a/", "/a", "a//b", "../x", "a/../b", "a b", "x" * 101),
        *('a"b', "\u00e4", "a\n"),
    ),
}
