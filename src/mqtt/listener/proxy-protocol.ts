import { isIPv4, isIPv6 } from 'node:net'

/**
 * The header that a proxy sends before the client's first byte. Strict: what the specification does not allow is
 * malformed, at the first byte that shows it. Pure; never throws.
 *
 * Source: haproxy.org, "The PROXY protocol", versions 1 & 2, revision of 2024.
 */
export type ProxyHeader =
  | { state: 'incomplete' }
  | { state: 'malformed'; reason: string }
  /** `bytes`: where the client's own bytes begin. `source`: null = the connection's own address counts. */
  | { state: 'complete'; bytes: number; source: ProxySource | null; tlvs: readonly ProxyTlv[] }

export interface ProxySource {
  family: 'ipv4' | 'ipv6' | 'unix'
  /** Address, or path of a unix socket (may be empty). */
  address: string
  /** 0 for a unix socket. */
  port: number
}

/** Version 2: what else the proxy knows, such as 0x02 (server name). The value is a view. */
export interface ProxyTlv {
  type: number
  value: Buffer
}

/** Version 1, CR LF included (2.1). */
const V1_BYTES_MAX = 107
/** Version 2: the specification allows 65,551; proxies send some hundred. */
export const PROXY_HEADER_BYTES_MAX = 4096

const V1_SIGNATURE = Buffer.from('PROXY ')
const V2_SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')
const V2_HEADER_BYTES = 16
const V2_ADDRESS_BYTES: readonly number[] = [0, 12, 36, 216]
const TLV_CRC32C = 0x03

const INCOMPLETE: ProxyHeader = { state: 'incomplete' }

/** Reads the header at the start of `input`, which is what has arrived so far. */
export function parseProxyHeader(input: Buffer): ProxyHeader {
  if (input.length === 0) return INCOMPLETE
  if (input[0] === V2_SIGNATURE[0]) return startsWith(input, V2_SIGNATURE, parseV2)
  return startsWith(input, V1_SIGNATURE, parseV1)
}

function startsWith(input: Buffer, signature: Buffer, parse: (input: Buffer) => ProxyHeader): ProxyHeader {
  const known = Math.min(input.length, signature.length)
  if (input.compare(signature, 0, known, 0, known) !== 0) return malformed('no PROXY signature')
  return input.length < signature.length ? INCOMPLETE : parse(input)
}

function malformed(reason: string): ProxyHeader {
  return { state: 'malformed', reason }
}

function parseV1(input: Buffer): ProxyHeader {
  const limit = Math.min(input.length, V1_BYTES_MAX)
  for (let i = V1_SIGNATURE.length; i < limit; i++) {
    const byte = input[i]!
    if (byte === 0x0d) {
      if (i + 1 >= limit) break
      return input[i + 1] === 0x0a ? readV1(input.toString('latin1', 6, i), i + 2) : malformed('CR without LF')
    }
    if (byte < 0x20 || byte > 0x7e) return malformed('not ASCII')
  }
  return input.length < V1_BYTES_MAX ? INCOMPLETE : malformed('longer than 107 bytes')
}

function readV1(line: string, bytes: number): ProxyHeader {
  const fields = line.split(' ')
  // UNKNOWN: the receiver must ignore everything up to the end of the line (2.1).
  if (fields[0] === 'UNKNOWN') return { state: 'complete', bytes, source: null, tlvs: [] }
  const isAddress = fields[0] === 'TCP4' ? isIPv4 : fields[0] === 'TCP6' ? isPlainIPv6 : null
  if (isAddress === null) return malformed('unknown family')
  if (fields.length !== 5) return malformed('wrong number of fields')
  if (!isAddress(fields[1]!) || !isAddress(fields[2]!)) return malformed('bad address')
  const port = readPort(fields[3]!)
  if (port < 0 || readPort(fields[4]!) < 0) return malformed('bad port')
  const family = fields[0] === 'TCP4' ? 'ipv4' : 'ipv6'
  return { state: 'complete', bytes, source: { family, address: fields[1]!, port }, tlvs: [] }
}

/** Without a zone (`%eth0`), which means nothing on another host. */
function isPlainIPv6(text: string): boolean {
  return isIPv6(text) && !text.includes('%')
}

/** Decimal, 0 to 65535, no leading zero; -1 for everything else. */
function readPort(text: string): number {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535 ? Number(text) : -1
}

function parseV2(input: Buffer): ProxyHeader {
  if (input.length > 12 && input[12] !== 0x20 && input[12] !== 0x21) return malformed('unknown version or command')
  if (input.length > 13 && !isKnownFamily(input[13]!)) return malformed('unknown family or protocol')
  if (input.length < V2_HEADER_BYTES) return INCOMPLETE
  const local = input[12] === 0x20
  const family = input[13]! >> 4
  const end = V2_HEADER_BYTES + input.readUInt16BE(14)
  if (end > PROXY_HEADER_BYTES_MAX) return malformed(`longer than ${PROXY_HEADER_BYTES_MAX} bytes`)
  const addressBytes = V2_ADDRESS_BYTES[family]!
  // LOCAL: the proxy's own connection, such as a health check; the rest is skipped (2.2).
  if (!local && V2_HEADER_BYTES + addressBytes > end) return malformed('too short for its address')
  if (input.length < end) return INCOMPLETE
  if (local) return { state: 'complete', bytes: end, source: null, tlvs: [] }
  const tlvs = readTlvs(input, V2_HEADER_BYTES + addressBytes, end)
  if (typeof tlvs === 'string') return malformed(tlvs)
  return { state: 'complete', bytes: end, source: readSource(input, family), tlvs }
}

/** Unspecified, or a stream over IPv4, IPv6 or unix: datagrams never come over a stream socket. */
function isKnownFamily(byte: number): boolean {
  return byte === 0x00 || byte === 0x11 || byte === 0x21 || byte === 0x31
}

function readSource(input: Buffer, family: number): ProxySource | null {
  const at = V2_HEADER_BYTES
  switch (family) {
    case 1:
      return { family: 'ipv4', address: input.subarray(at, at + 4).join('.'), port: input.readUInt16BE(at + 8) }
    case 2:
      return { family: 'ipv6', address: formatIPv6(input.subarray(at, at + 16)), port: input.readUInt16BE(at + 32) }
    case 3: {
      const path = input.subarray(at, at + 108)
      const end = path.indexOf(0)
      return { family: 'unix', address: path.toString('utf8', 0, end < 0 ? path.length : end), port: 0 }
    }
    default:
      return null
  }
}

/** Canonical text: lower case, the longest run of zeros shortened (RFC 5952); an IPv4-mapped one as IPv4. */
function formatIPv6(bytes: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16))
  const text = groups.join(':')
  const mapped = text.startsWith('0:0:0:0:0:ffff:')
  if (mapped) return bytes.subarray(12).join('.')
  const run = [...text.matchAll(/(?<![^:])0(?::0)+(?![^:])/g)].sort((a, b) => b[0].length - a[0].length)[0]
  if (run === undefined) return text
  const head = text.slice(0, run.index).replace(/:$/, '')
  const tail = text.slice(run.index + run[0].length).replace(/^:/, '')
  return `${head}::${tail}`
}

/** The fields between `start` and `end`, which they must fill exactly; or what is wrong with them. */
function readTlvs(input: Buffer, start: number, end: number): ProxyTlv[] | string {
  const tlvs: ProxyTlv[] = []
  let at = start
  while (at < end) {
    if (at + 3 > end) return 'a TLV is cut short'
    const valueAt = at + 3
    const next = valueAt + input.readUInt16BE(at + 1)
    if (next > end) return 'a TLV is cut short'
    const type = input[at]!
    if (type === TLV_CRC32C) {
      if (next - valueAt !== 4) return 'a checksum of the wrong length'
      if (input.readUInt32BE(valueAt) !== checksum(input, end, valueAt)) return 'wrong checksum'
    }
    tlvs.push({ type, value: input.subarray(valueAt, next) })
    at = next
  }
  return tlvs
}

/** CRC-32C of the whole header, its own four bytes taken as zero (2.2.3). */
function checksum(input: Buffer, end: number, ownBytesAt: number): number {
  let crc = 0xffffffff
  for (let i = 0; i < end; i++) {
    crc ^= i >= ownBytesAt && i < ownBytesAt + 4 ? 0 : input[i]!
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0x82f63b78 & -(crc & 1))
  }
  return ~crc >>> 0
}
