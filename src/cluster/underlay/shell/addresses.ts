import { isIP } from 'node:net'
import type { Address } from '../core/index.ts'

/** What a configuration names: an IP address or a name, and a port. */
export interface Endpoint {
  host: string
  port: number
}

/** Reads `host`, `host:port`, `ip6` or `[ip6]:port`; null where it is none of these. */
export function parseEndpoint(text: string, defaultPort: number): Endpoint | null {
  if (isIP(text) !== 0) return { host: text, port: defaultPort }
  const match = /^(?:\[([^\]]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/.exec(text)
  if (match === null) return null
  const [, ip6, name, digits] = match
  if (ip6 !== undefined && isIP(ip6) !== 6) return null
  const port = digits === undefined ? defaultPort : Number(digits)
  return port >= 1 && port <= 65_535 ? { host: ip6 ?? name!, port } : null
}

/** The one form in which addresses are compared: IPv4 where it is mapped into IPv6, no scope, IPv6 as short as it goes. */
export function normalIp(ip: string): string {
  const plain = ip.replace(/%.*$/, '')
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain)
  if (mapped !== null) return mapped[1]!
  return isIP(plain) === 6 ? new URL(`http://[${plain}]`).hostname.slice(1, -1) : plain
}

export function addressOf(ip: string, port: number): Address {
  const normal = normalIp(ip)
  return (normal.includes(':') ? `[${normal}]:${port}` : `${normal}:${port}`) as Address
}

/** Of an address as packets carry it. */
export function endpointOf(address: Address): Endpoint {
  const colon = address.lastIndexOf(':')
  const host = address.startsWith('[') ? address.slice(1, colon - 1) : address.slice(0, colon)
  return { host, port: Number(address.slice(colon + 1)) }
}

export function isLoopback(ip: string): boolean {
  const normal = normalIp(ip)
  return normal === '::1' || /^127\./.test(normal)
}

/** Stands for all addresses of the machine. */
export function isWildcard(ip: string): boolean {
  return ip === '0.0.0.0' || normalIp(ip) === '::'
}
