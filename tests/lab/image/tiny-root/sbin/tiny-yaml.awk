# Flattens the YAML that seeds use to lines of  a.b.0.c<TAB>value : block maps and lists, flow maps and lists (so JSON
# too), quoted and plain scalars, | and > texts. In a value, newline, tab and backslash are escaped as printf %b reads them.

{ sub(/\r$/, ""); L[++N] = $0 }

END {
  P = 1
  skip()
  if (P > N) exit
  if (L[P] ~ /^ *[[{]/) {
    for (S = ""; P <= N; P++) S = S L[P] "\n"
    Q = 1
    flow("")
  } else block("", ind(L[P]), 0)
}

# ---- lines: L[1..N], P the next one

function ind(line) { match(line, /^ */); return RLENGTH }
function skip() { while (P <= N && (L[P] ~ /^ *(#.*)?$/ || L[P] ~ /^(---|\.\.\.)/)) P++ }
function spaces(n) { return sprintf("%" n "s", "") }
function below(path, key) { return path == "" ? key : path "." key }
function is_item(text) { return text ~ /^-( |$)/ }
function is_key(text) {
  return text ~ /^("[^"]*"|'[^']*'|[^-"'\[{#&*!|>%@` ][^"'\[{]*|-[^ ][^"'\[{]*)[ ]*:( |$)/
}
function emit(path, value) {
  gsub(/\\/, "\\\\", value)
  gsub(/\n/, "\\n", value)
  gsub(/\t/, "\\t", value)
  print path "\t" value
}

# What is indented by at least `margin`. A list that is a key's value may stand at the key's own indent: then items only.
function block(path, margin, items_only,   n, s, text) {
  n = 0
  while (1) {
    skip()
    if (P > N) return
    s = ind(L[P])
    if (s < margin) return
    text = substr(L[P], s + 1)
    if (is_item(text)) item(below(path, n++), text, s)
    else if (items_only) return
    else entry(path, text, s)
  }
}

function item(path, text, s,   rest, gap) {
  rest = substr(text, 2)
  gap = ind(rest)
  rest = substr(rest, gap + 1)
  if (rest == "") {
    P++
    nested(path, s)
  } else if (is_key(rest) || rest ~ /^- /) {
    # A map or list that starts behind the dash: the same line, read again without it.
    L[P] = spaces(s + 1 + gap) rest
    block(path, s + 1 + gap, 0)
  } else {
    P++
    value(path, rest, s)
  }
}

function entry(path, text, s,   key, rest) {
  P++
  if (!match(text, /:( |$)/)) return
  key = unquote(substr(text, 1, RSTART - 1))
  rest = substr(text, RSTART + 1)
  sub(/^ +/, "", rest)
  path = below(path, key)
  if (rest != "" && rest !~ /^#/) { value(path, rest, s); return }
  skip()
  if (P <= N && ind(L[P]) == s && is_item(substr(L[P], s + 1))) block(path, s, 1)
  else nested(path, s)
}

# The block below a line of indent s, or an empty value when there is none.
function nested(path, s) {
  skip()
  if (P <= N && ind(L[P]) > s) block(path, ind(L[P]), 0)
  else emit(path, "")
}

function value(path, text, s) {
  if (text ~ /^[|>][-+0-9]*( *#.*)?$/) literal(path, text, s)
  else if (text ~ /^[[{]/) {
    S = text "\n"
    while (!balanced(S) && P <= N) S = S L[P++] "\n"
    Q = 1
    flow(path)
  } else if (text ~ /^["']/) emit(path, unquote(text))
  else {
    sub(/ +#.*$/, "", text)
    sub(/ +$/, "", text)
    emit(path, plain(text))
  }
}

function plain(text) { return text == "~" || text == "null" ? "" : text }

function literal(path, text, s,   margin, all, glue) {
  glue = text ~ /^>/ ? " " : "\n"
  margin = -1
  while (P <= N && (L[P] ~ /^ *$/ || ind(L[P]) > s)) {
    if (margin < 0 && L[P] !~ /^ *$/) margin = ind(L[P])
    all = all substr(L[P], (margin < 0 ? 0 : margin) + 1) glue
    P++
  }
  sub(/[ \n]+$/, "", all)
  emit(path, all (text ~ /-/ ? "" : "\n"))
}

# ---- flow style: the text S, Q the next character

function balanced(text,   i, c, depth, quote) {
  quote = ""
  for (i = 1; i <= length(text); i++) {
    c = substr(text, i, 1)
    if (quote != "") {
      if (c == "\\" && quote == "\"") i++
      else if (c == quote) quote = ""
    } else if (c == "\"" || c == "'") quote = c
    else if (c ~ /[[{]/) depth++
    else if (c == "]" || c == "}") depth--
  }
  return depth <= 0
}

function blanks() { while (substr(S, Q, 1) ~ /[ \n\t]/) Q++ }

function flow(path,   c, n, key) {
  blanks()
  c = substr(S, Q, 1)
  if (c != "[" && c != "{") { emit(path, plain(scalar(0))); return }
  Q++
  n = 0
  while (Q <= length(S)) {
    blanks()
    if (substr(S, Q, 1) ~ /[]}]/) { Q++; return }
    if (substr(S, Q, 1) == ",") Q++
    else if (c == "[") flow(below(path, n++))
    else {
      key = scalar(1)
      blanks()
      if (substr(S, Q, 1) == ":") { Q++; flow(below(path, key)) }
      else emit(below(path, key), "")
    }
  }
}

function scalar(is_name,   c, start, quote, text) {
  blanks()
  start = Q
  quote = substr(S, Q, 1)
  if (quote == "\"" || quote == "'") {
    for (Q++; Q <= length(S); Q++) {
      c = substr(S, Q, 1)
      if (quote == "\"" && c == "\\") Q++
      else if (c == quote) break
    }
    Q++
    return unquote(substr(S, start, Q - start))
  }
  while (Q <= length(S) && index(",]}\n", substr(S, Q, 1)) == 0) {
    if (is_name && substr(S, Q, 1) == ":" && substr(S, Q + 1, 1) ~ /[ \n]/) break
    Q++
  }
  text = substr(S, start, Q - start)
  sub(/ +$/, "", text)
  return text
}

function unquote(text,   c, i, all) {
  sub(/^ +/, "", text)
  c = substr(text, 1, 1)
  if (c == "'") {
    i = match(substr(text, 2), /'( *(#.*)?$|$)/)
    text = substr(text, 2, i - 1)
    gsub(/''/, "'", text)
    return text
  }
  if (c != "\"") { sub(/ +$/, "", text); return text }
  for (i = 2; i <= length(text); i++) {
    c = substr(text, i, 1)
    if (c == "\"") break
    if (c == "\\") {
      c = substr(text, ++i, 1)
      if (c == "n") c = "\n"
      else if (c == "t") c = "\t"
      else if (c == "r") c = "\r"
    }
    all = all c
  }
  return all
}
