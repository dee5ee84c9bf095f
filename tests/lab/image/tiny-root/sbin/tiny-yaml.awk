# flatten a YAML subset (block maps/lists, flow maps/lists = JSON, | and > scalars) to  a.b.0.c<TAB>value
{ sub(/\r$/, ""); L[++N] = $0 }
END {
  P = 1; skip()
  t = L[P]; sub(/^ +/, "", t)
  if (t ~ /^[[{]/) { S = ""; for (i = P; i <= N; i++) S = S L[i] "\n"; Q = 1; flow("") }
  else if (P <= N) block("", ind(L[P]), 0)
}
function ind(s) { match(s, /^ */); return RLENGTH }
function skip() { while (P <= N && (L[P] ~ /^ *(#.*)?$/ || L[P] ~ /^(---|\.\.\.)/)) P++ }
function sub_(p, k) { return p == "" ? k : p "." k }
function emit(p, v) { gsub(/\\/, "\\\\", v); gsub(/\n/, "\\n", v); gsub(/\t/, "\\t", v); print p "\t" v }
function spaces(n) { return sprintf("%" n "s", "") }
function iskey(t) { return t ~ /^("[^"]*"|'[^']*'|[^-"'\[{#&*!|>%@` ][^"'\[{]*|-[^ ][^"'\[{]*)[ ]*:( |$)/ }
function block(path, ind0, seqonly,   n, s, t, k, key, rest) {
  n = 0
  while (1) {
    skip(); if (P > N) return
    s = ind(L[P]); if (s < ind0) return
    t = substr(L[P], s + 1)
    if (t ~ /^-( |$)/) {
      rest = substr(t, 2); match(rest, /^ */); k = RLENGTH; rest = substr(rest, k + 1)
      if (rest == "") { P++; skip(); if (P <= N && ind(L[P]) > s) block(sub_(path, n), ind(L[P]), 0); else emit(sub_(path, n), "") }
      else if (iskey(rest) || rest ~ /^- /) { L[P] = spaces(s + 1 + k) rest; block(sub_(path, n), s + 1 + k, 0) }
      else { P++; value(sub_(path, n), rest, s) }
      n++
    } else {
      if (seqonly) return
      if (!match(t, /:( |$)/)) { P++; continue }
      key = unq(substr(t, 1, RSTART - 1)); rest = substr(t, RSTART + 1); sub(/^ +/, "", rest); P++
      if (rest == "" || rest ~ /^#/) {
        skip()
        if (P <= N && ind(L[P]) > s) block(sub_(path, key), ind(L[P]), 0)
        else if (P <= N && ind(L[P]) == s && substr(L[P], s + 1) ~ /^-( |$)/) block(sub_(path, key), s, 1)
        else emit(sub_(path, key), "")
      } else value(sub_(path, key), rest, s)
    }
  }
}
function value(path, v, s,   bi, txt, fold, keep) {
  if (v ~ /^[|>][-+0-9]*( *#.*)?$/) {
    fold = (v ~ /^>/); keep = (v !~ /-/); bi = -1; txt = ""
    while (P <= N && (L[P] ~ /^ *$/ || ind(L[P]) > s)) {
      if (bi < 0 && L[P] !~ /^ *$/) bi = ind(L[P])
      txt = txt substr(L[P], (bi < 0 ? 0 : bi) + 1) (fold ? " " : "\n"); P++ }
    sub(/[ \n]+$/, "", txt); emit(path, txt (keep ? "\n" : "")); return
  }
  if (v ~ /^[[{]/) {
    S = v "\n"; while (!balanced(S) && P <= N) S = S L[P++] "\n"
    Q = 1; flow(path); return }
  if (v ~ /^"/ || v ~ /^'/) { emit(path, unq(v)); return }
  sub(/ +#.*$/, "", v); sub(/ +$/, "", v); if (v == "~" || v == "null") v = ""; emit(path, v)
}
function balanced(s,   i, c, d, q) {
  d = 0; q = ""
  for (i = 1; i <= length(s); i++) { c = substr(s, i, 1)
    if (q != "") { if (c == "\\" && q == "\"") i++; else if (c == q) q = "" }
    else if (c == "\"" || c == "'") q = c
    else if (c ~ /[[{]/) d++; else if (c == "]" || c == "}") d-- }
  return d <= 0 }
function unq(v,   c, i, o) {
  sub(/^ +/, "", v); c = substr(v, 1, 1)
  if (c == "'") { i = match(substr(v, 2), /'( *(#.*)?$|$)/); v = substr(v, 2, i - 1); gsub(/''/, "'", v); return v }
  if (c != "\"") { sub(/ +$/, "", v); return v }
  o = ""; for (i = 2; i <= length(v); i++) { c = substr(v, i, 1)
    if (c == "\"") break
    if (c == "\\") { i++; c = substr(v, i, 1); if (c == "n") c = "\n"; else if (c == "t") c = "\t"; else if (c == "r") c = "\r" }
    o = o c }
  return o }
function ws() { while (substr(S, Q, 1) ~ /[ \n\t]/) Q++ }
function str(stop,   c, st, q) {        # one scalar in flow context
  ws(); st = Q; q = substr(S, Q, 1)
  if (q == "\"" || q == "'") { Q++; while (Q <= length(S)) { c = substr(S, Q, 1); if (c == "\\" && q == "\"") Q++; else if (c == q) break; Q++ }; Q++; return unq(substr(S, st, Q - st)) }
  while (Q <= length(S) && index(",]}\n", substr(S, Q, 1)) == 0 && !(stop && substr(S, Q, 1) == ":" && substr(S, Q + 1, 1) ~ /[ \n]/)) Q++
  c = substr(S, st, Q - st); sub(/ +$/, "", c); return c }
function flow(path,   c, n, k) {
  ws(); c = substr(S, Q, 1)
  if (c == "[") { Q++; n = 0; while (1) { ws(); if (Q > length(S)) return; c = substr(S, Q, 1); if (c == "]") { Q++; return } if (c == ",") { Q++; continue } flow(sub_(path, n++)) } }
  else if (c == "{") { Q++; while (1) { ws(); if (Q > length(S)) return; c = substr(S, Q, 1); if (c == "}") { Q++; return } if (c == ",") { Q++; continue }
      k = str(1); ws(); if (substr(S, Q, 1) == ":") { Q++; flow(sub_(path, k)) } else emit(sub_(path, k), "") } }
  else { k = str(0); if (k == "null" || k == "~") k = ""; emit(path, k) }
}
