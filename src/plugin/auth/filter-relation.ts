/**
 * How two topic filters relate, judged as sets of the topic names that they match (MQTT 5.0 4.7).
 *
 * Plain, not shared, valid filters only. A leading wildcard does not match names that begin with `$`
 * [MQTT-4.7.2-1]; `a/#` matches `a` as well [MQTT-4.7.1-1]. The empty name, which nobody can publish to, counts as
 * a name like any other: it makes `/#` touch `+`, which is the safe side.
 */

/** True when every name that `inner` matches is matched by `outer` too. */
export function filterCovers(outer: string, inner: string): boolean {
  if (startsWithDollar(inner) && startsWithWildcard(outer)) return false
  const o = outer.split('/')
  const i = inner.split('/')
  for (let at = 0; ; at++) {
    const level = o[at]
    if (level === '#') return true
    // `inner` ended: what is left of `outer` must match nothing more.
    if (at === i.length) return at === o.length
    if (i[at] === '#') return at === 0 && level === '+' && o[1] === '#'
    if (at === o.length) return false
    if (level !== '+' && level !== i[at]) return false
  }
}

/** True when at least one name is matched by both. */
export function filtersOverlap(a: string, b: string): boolean {
  if (startsWithDollar(a) && startsWithWildcard(b)) return false
  if (startsWithDollar(b) && startsWithWildcard(a)) return false
  const x = a.split('/')
  const y = b.split('/')
  for (let at = 0; ; at++) {
    if (x[at] === '#' || y[at] === '#') return true
    if (at === x.length || at === y.length) return x.length === y.length
    if (x[at] !== '+' && y[at] !== '+' && x[at] !== y[at]) return false
  }
}

function startsWithDollar(filter: string): boolean {
  return filter.charCodeAt(0) === 0x24
}

function startsWithWildcard(filter: string): boolean {
  const first = filter.charCodeAt(0)
  return first === 0x2b || first === 0x23
}
