/** Debian's mosquitto with every limit lifted, nothing on disk and nothing logged. */
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brokerCore, startPinned } from './child.ts'
import type { Launch, Launched } from './index.ts'

export async function launchMosquitto({ port, folder, mosquittoConf }: Launch): Promise<Launched> {
  const file = join(folder, 'mosquitto.conf')
  const lines = [
    `listener ${port} 127.0.0.1`,
    'allow_anonymous true',
    'max_inflight_messages 0',
    'max_queued_messages 0',
    'max_queued_bytes 0',
    'persistence false',
    'sys_interval 0',
    'log_type none',
    ...(mosquittoConf.some((line) => line.startsWith('set_tcp_nodelay')) ? [] : ['set_tcp_nodelay true']),
    ...mosquittoConf,
    // As root it would change to a user that cannot read the folder.
    ...(process.getuid?.() === 0 ? ['user root'] : []),
  ]
  writeFileSync(file, `${lines.join('\n')}\n`)
  // Debian keeps it out of the PATH of ordinary users.
  const program = existsSync('/usr/sbin/mosquitto') ? '/usr/sbin/mosquitto' : 'mosquitto'
  return { child: startPinned(brokerCore, program, ['-c', file]), apiPort: 0 }
}
