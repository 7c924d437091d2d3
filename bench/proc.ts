/** CPU time and resident memory of another process, from Linux's /proc (proc(5)). */
import { readFileSync } from 'node:fs'

/** USER_HZ: the kernel reports CPU time to user space in hundredths of a second on every Linux architecture of today. */
const ticksPerSecond = 100

/** User and system time of all threads of the process, in microseconds; null when it is gone. */
export function cpuMicros(pid: number): number | null {
  try {
    return parseCpuMicros(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return null
  }
}

/** Fields 14 and 15, counted behind the last ')': the process name may itself contain spaces and parentheses. */
export function parseCpuMicros(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return ((Number(fields[11]) + Number(fields[12])) * 1_000_000) / ticksPerSecond
}

/** Resident set in MiB; null when the process is gone. */
export function rssMib(pid: number): number | null {
  try {
    const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]
    return kib === undefined ? null : Number(kib) / 1024
  } catch {
    return null
  }
}
