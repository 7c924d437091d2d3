import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { parse } from 'yaml'
import { run } from '../../src/node/cli/index.ts'
import { parseStoredPassword, verifyPassword } from '../../src/plugin/auth/password.ts'
import { builtMain } from '../build.ts'
import { ANY_PORTS, CliProcess, endAll, runCli, spawnCli } from './run-cli.ts'

// Each test starts several processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 30_000 })

const root = mkdtempSync(join(tmpdir(), 'flockmq-cli-'))
let count = 0

beforeAll(async () => {
  await builtMain()
}, 60_000)

afterEach(endAll)

function newPath(): string {
  return join(root, String(++count))
}

async function startNode(data: string, ...args: string[]): Promise<CliProcess> {
  const node = await spawnCli(['start', '--data', data, ...ANY_PORTS, ...args])
  await node.waitFor(/^ready .*\n/m)
  return node
}

describe('start, status, stop', () => {
  test('a node starts, answers, and stops at once when told to', async () => {
    const data = newPath()
    const node = await startNode(data)
    const [, api] = await node.waitFor(/^listening {2}api \(http\) (http:\S+)$/m)
    expect((await fetch(`${api}/readyz`)).status).toBe(200)

    const status = await runCli(['status', '--data', data])
    expect(status).toMatchObject({ code: 0, stderr: '' })
    expect(status.stdout).toContain(`ready, pid ${node.child.pid}, api ${api}\n`)
    const json = JSON.parse((await runCli(['status', '--data', data, '--json'])).stdout)
    expect(json).toMatchObject({ pid: node.child.pid, api, ready: true, reasons: [] })
    expect(json.details.version).toBe(JSON.parse(readFileSync('package.json', 'utf8')).version)

    const stop = await runCli(['stop', '--data', data])
    expect(stop).toEqual({ code: 0, stdout: `stopped ${node.child.pid}\n`, stderr: '' })
    expect((await node.finished).code).toBe(0)
    expect(existsSync(join(data, 'flockmq.pid'))).toBe(false)
    expect(readdirSync(data)).toContain('flockmq.json')
  })

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('%s is a graceful stop', async (signal) => {
    const data = newPath()
    const node = await startNode(data)
    node.kill(signal)
    expect(await node.finished).toMatchObject({ code: 0, stderr: '' })
    expect(existsSync(join(data, 'flockmq.pid'))).toBe(false)
  })

  test('after kill -9 the folder serves the next start', async () => {
    const data = newPath()
    const first = await startNode(data)
    first.kill('SIGKILL')
    await first.finished
    expect(existsSync(join(data, 'flockmq.pid'))).toBe(true)
    expect((await runCli(['status', '--data', data])).code).toBe(3)
    const second = await startNode(data)
    expect((await runCli(['status', '--data', data])).stdout).toContain(`pid ${second.child.pid}`)
  })

  test('without a node stop and status say so', async () => {
    const data = newPath()
    for (const command of ['stop', 'status', 'members']) {
      const { code, stdout, stderr } = await runCli([command, '--data', data])
      expect({ code, stdout }).toEqual({ code: 3, stdout: '' })
      expect(stderr).toBe(`flockmq: No flockmq runs on the data folder "${data}"\n`)
    }
    expect(existsSync(data)).toBe(false)
  })

  test('JSON lines instead of text', async () => {
    const node = await spawnCli(['start', '--data', newPath(), ...ANY_PORTS, '--set', 'log.format=json'])
    await node.waitFor(/"msg":"Ready"/)
    const lines = node.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines.at(-1)).toMatchObject({ level: 'info', msg: 'Ready', pid: node.child.pid })
    expect(lines.some(({ msg, name }) => msg === 'Listening' && name === 'api')).toBe(true)
  })

  test('a token keeps the details for those who have it', async () => {
    const data = newPath()
    await startNode(data, '--set', 'api.token=hush')
    const without = JSON.parse((await runCli(['status', '--data', data, '--json'])).stdout)
    expect(without).toMatchObject({ ready: true, details: {} })
    const known = JSON.parse(
      (await runCli(['status', '--data', data, '--json'], { env: { FLOCKMQ_API_TOKEN: 'hush' } })).stdout,
    )
    expect(known.details.hostId).toBeTruthy()
    const refused = await runCli(['members', '--data', data])
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toMatch(/^flockmq: Cannot ask process \d+ .*it asks for a token; give the api\.token/)
    expect((await runCli(['members', '--data', data, '--set', 'api.token=hush'])).code).toBe(0)
  })
})

describe('what goes wrong while it runs', () => {
  const neverCloses = `
    import http from 'node:http'
    http.Server.prototype.close = function () { return this }`

  async function startHanging(data: string, ...args: string[]): Promise<CliProcess> {
    const node = await spawnCli(['start', '--data', data, ...ANY_PORTS, ...args], { preload: neverCloses })
    await node.waitFor(/^ready .*\n/m)
    return node
  }

  test('a stop that takes too long ends anyway', async () => {
    const data = newPath()
    const node = await startHanging(data, '--set', 'node.stopSecondsMax=1')
    node.kill('SIGTERM')
    const { code, stdout } = await node.finished
    expect(code).toBe(1)
    expect(stdout).toContain('longer than node.stopSecondsMax')
    expect(existsSync(join(data, 'flockmq.pid'))).toBe(false)
  })

  test('stop tells when the node does not end; a second signal ends it at once', async () => {
    const data = newPath()
    const node = await startHanging(data, '--set', 'node.stopSecondsMax=600')
    const stop = await runCli(['stop', '--data', data, '--timeout', '1'])
    expect(stop).toEqual({
      code: 1,
      stdout: '',
      stderr: `flockmq: Process ${node.child.pid} still runs after 1 seconds\n`,
    })
    node.kill('SIGINT')
    expect((await node.finished).code).toBe(1)
    expect(node.stdout).toContain('Second signal')
    expect(existsSync(join(data, 'flockmq.pid'))).toBe(false)
  })

  test('a signal while it starts is heard', async () => {
    const preload = `
      import net from 'node:net'
      const listen = net.Server.prototype.listen
      net.Server.prototype.listen = function (...args) {
        console.log('about to listen')
        setTimeout(() => listen.apply(this, args), 200)
        return this
      }`
    const data = newPath()
    const node = await spawnCli(['start', '--data', data, ...ANY_PORTS], { preload })
    await node.waitFor(/about to listen/)
    node.kill('SIGTERM')
    const { code, stdout } = await node.finished
    expect(code).toBe(0)
    expect(stdout).not.toContain('ready')
    expect(stdout).toContain('Stopped')
  })

  test('an error that nobody caught is logged and ends the process', async () => {
    const data = newPath()
    const preload = "process.on('SIGUSR2', () => { throw new Error('a planted mistake') })"
    const node = await spawnCli(['start', '--data', data, ...ANY_PORTS], { preload })
    await node.waitFor(/^ready .*\n/m)
    node.kill('SIGUSR2')
    const { code, stdout } = await node.finished
    expect(code).toBe(1)
    expect(stdout).toMatch(
      /ERROR The process ends: an error that nobody expected error="a planted mistake"\nError: a planted mistake\n\s+at /,
    )
    expect(existsSync(join(data, 'flockmq.pid'))).toBe(false)
  })
})

describe('--daemon', () => {
  test('returns when the node is ready, and prints its pid', async () => {
    const data = newPath()
    const started = await runCli(['start', '--daemon', '--data', data, ...ANY_PORTS])
    expect(started).toMatchObject({ code: 0, stderr: '' })
    const pid = started.stdout.trim()
    try {
      expect(readFileSync(join(data, 'flockmq.pid'), 'utf8').split('\n')[0]).toBe(pid)
      expect((await runCli(['status', '--data', data])).stdout).toContain(`ready, pid ${pid}`)
      const again = await runCli(['start', '--daemon', '--data', data, ...ANY_PORTS])
      expect(again).toMatchObject({ code: 1, stdout: '' })
      expect(again.stderr).toBe(
        `flockmq: Cannot use the data folder "${data}": process ${pid} runs on it; stop that one, or name another with --data\n`,
      )
    } finally {
      expect((await runCli(['stop', '--data', data])).stdout).toBe(`stopped ${pid}\n`)
    }
    expect(readFileSync(join(data, 'flockmq.log'), 'utf8')).toMatch(/^ready /m)
  })

  test('tells on this terminal why the node in the background could not start', async () => {
    const blocker = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => blocker.once('listening', resolve))
    const { port } = blocker.address() as { port: number }
    const data = newPath()
    const { code, stderr } = await runCli([
      'start',
      '--daemon',
      '--data',
      data,
      ...ANY_PORTS,
      '--set',
      `api.port=${port}`,
    ])
    blocker.close()
    expect(code).toBe(1)
    expect(stderr).toBe(
      `flockmq: Cannot listen on 127.0.0.1:${port} (api): another process uses it; change api.host or api.port\n`,
    )
    expect(existsSync(join(data, 'flockmq.pid'))).toBe(false)
  })
})

describe('what is wrong is one clear line, and nothing is harmed', () => {
  test('a second process on the same folder', async () => {
    const data = newPath()
    const node = await startNode(data)
    const second = await runCli(['start', '--data', data, ...ANY_PORTS])
    expect(second).toEqual({
      code: 1,
      stdout: '',
      stderr: `flockmq: Cannot use the data folder "${data}": process ${node.child.pid} runs on it; stop that one, or name another with --data\n`,
    })
    expect((await runCli(['status', '--data', data])).code).toBe(0)
  })

  test.each(['api.port', 'cluster.port', 'rpc.port', 'mqtt.listeners.tcp.port', 'mqtt.listeners.ws.port'])(
    'a taken port: %s',
    async (key) => {
      const blocker = createServer().listen(0, '127.0.0.1')
      await new Promise((resolve) => blocker.once('listening', resolve))
      const { port } = blocker.address() as { port: number }
      const data = newPath()
      const { code, stderr } = await runCli(['start', '--data', data, ...ANY_PORTS, '--set', `${key}=${port}`])
      blocker.close()
      expect(stderr.trimEnd().split('\n')).toEqual([
        expect.stringMatching(new RegExp(`^flockmq: .*127\\.0\\.0\\.1(:| port )${port} `)),
      ])
      expect(code).toBe(1)
      expect(existsSync(join(data, 'flockmq.pid'))).toBe(false)
    },
  )

  test('certificates of nodes that cannot be read', async () => {
    const set = ['cert', 'key', 'ca'].flatMap((name) => ['--set', `rpc.tls.${name}=/nowhere/${name}.pem`])
    const { code, stderr } = await runCli(['start', '--data', newPath(), ...ANY_PORTS, ...set])
    expect(stderr).toMatch(/^flockmq: Cannot read rpc\.tls\.cert "\/nowhere\/cert\.pem": ENOENT[^\n]*\n$/)
    expect(code).toBe(1)
  })

  test('a foreign folder', async () => {
    const data = newPath()
    mkdirSync(data)
    writeFileSync(join(data, 'photo.jpg'), 'x')
    const { code, stderr } = await runCli(['start', '--data', data, ...ANY_PORTS])
    expect(code).toBe(1)
    expect(stderr).toBe(
      `flockmq: Cannot use the data folder "${data}": it holds other things (photo.jpg) and no flockmq.json; name an empty or a new folder\n`,
    )
    expect(readdirSync(data)).toEqual(['photo.jpg'])
  })

  // Nothing is unwritable for root, but the kernel's own file systems hold no folders of anybody.
  test('an unwritable folder', async () => {
    const readOnly = newPath()
    mkdirSync(readOnly, { mode: 0o555 })
    const folders = process.getuid?.() === 0 ? ['/sys/flockmq', '/proc/flockmq'] : [readOnly, join(readOnly, 'data')]
    for (const data of folders) {
      const { code, stderr } = await runCli(['start', '--data', data, ...ANY_PORTS])
      expect(code).toBe(1)
      expect(stderr).toMatch(
        /^flockmq: Cannot use the data folder "[^"]+": (this user may not write there|the file system is read-only|it cannot be made there)\n$/,
      )
    }
  })

  test('mistakes in the configuration, all at once', async () => {
    const data = newPath()
    const file = join(root, 'wrong.yml')
    writeFileSync(file, 'api:\n  prot: 1\nlog:\n  level: loud\n')
    const commands = [
      ['start', '--data', data],
      ['start', '--daemon', '--data', data],
      ['config', 'check'],
    ]
    for (const { code, stdout, stderr } of await Promise.all(commands.map((args) => runCli([...args, '-c', file])))) {
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
      expect(stderr.split('\n')).toEqual([
        expect.stringContaining(`flockmq: api.prot (${file}:2): unknown key; did you mean api.port?`),
        expect.stringContaining(`flockmq: log.level (${file}:4): "loud" is not allowed; must be one of error, warn`),
        '',
      ])
    }
    expect(existsSync(data)).toBe(false)
  })

  test('a missing file, named by option or environment', async () => {
    const line = 'flockmq: Cannot read the configuration file "/nowhere.yml": there is no such file\n'
    expect(await runCli(['config', 'check', '-c', '/nowhere.yml'])).toMatchObject({ code: 2, stderr: line })
    expect(await runCli(['config', 'check'], { env: { FLOCKMQ_CONFIG: '/nowhere.yml' } })).toMatchObject({
      code: 2,
      stderr: line,
    })
  })

  const wrong = ['strat', 'start --wrong', 'start x', 'passwd', 'config', 'config chekc', 'stop --timeout x']
  test.each(wrong)('the command line %s', async (line) => {
    const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    const code = await run(line.split(' '))
    const text = written.mock.calls.map(([chunk]) => chunk).join('')
    written.mockRestore()
    expect(code).toBe(2)
    expect(text.length).toBeGreaterThan(20)
    expect(text).not.toMatch(/\n\s+at /)
  })
})

describe('config and help', () => {
  test('config check, print, schema, example', async () => {
    expect(await runCli(['config', 'check'])).toEqual({ code: 0, stdout: 'The configuration is valid.\n', stderr: '' })
    const print = await runCli(['config', 'print', '--set', 'api.token=hush'], { env: { FLOCKMQ_LOG_LEVEL: 'warn' } })
    expect(print.stdout).toContain('  level: warn # env\n')
    expect(print.stdout).not.toContain('hush')
    expect(JSON.parse((await runCli(['config', 'print', '--json', '--data', '/x'])).stdout).config.node.data).toBe('/x')
    expect(JSON.parse((await runCli(['config', 'schema'])).stdout).properties.api).toBeTruthy()
    expect((await runCli(['config', 'example', '--cluster'])).stdout).toBe(readFileSync('conf/cluster.yml', 'utf8'))
    expect((await runCli(['config', 'example'])).stdout).toBe(readFileSync('conf/standalone.yml', 'utf8'))
    expect(await runCli(['config', 'check', '-c', 'conf/standalone.yml'])).toMatchObject({ code: 0 })
  })

  test('--version', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
    expect(await runCli(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
  })

  const commands = [
    '',
    'start',
    'stop',
    'status',
    'members',
    'passwd',
    'config print',
    'config check',
    'config schema',
    'config example',
  ]
  test.each(commands)('%s --help has examples', async (command) => {
    const written = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
    const code = await run([...command.split(' ').filter(Boolean), '--help'])
    const text = written.mock.calls.map(([chunk]) => chunk).join('')
    written.mockRestore()
    expect(code).toBe(0)
    expect(text).toContain('Examples:\n  $ ')
    expect(text).toContain(`flockmq ${command}`.trimEnd())
  })
})

describe('passwd', () => {
  const login = (file: string) =>
    runCli(['config', 'check', '--set', `plugins.auth=file`, '--set', `plugins.authFile.path=${file}`])

  test('adds, changes and deletes one user and leaves the rest of the file alone', async () => {
    const file = newPath()
    expect((await runCli(['passwd', file, 'alice', '--stdin'], { input: 'secret one\nnot read\n' })).stdout).toBe(
      'added default/alice\n',
    )
    expect(statSync(file).mode & 0o777).toBe(0o600)
    writeFileSync(file, `# people\n${readFileSync(file, 'utf8')}`)
    const args = ['passwd', file, 'bob', '--tenant', 'acme']
    expect((await runCli([...args, '--stdin'], { input: 'x' })).stdout).toBe('added acme/bob\n')
    const before = parse(readFileSync(file, 'utf8')).users
    expect(before).toEqual([
      { name: 'alice', password: expect.stringMatching(/^\$scrypt\$/) },
      { name: 'bob', tenant: 'acme', password: expect.stringMatching(/^\$scrypt\$/) },
    ])
    const stored = parseStoredPassword(before[0].password)!
    expect(await verifyPassword(stored, Buffer.from('secret one'))).toBe(true)

    expect((await runCli(['passwd', file, 'alice', '--stdin'], { input: 'two\r\n' })).stdout).toBe(
      'changed default/alice\n',
    )
    expect((await runCli([...args, '--delete'])).stdout).toBe('deleted acme/bob\n')
    const after = parse(readFileSync(file, 'utf8')).users
    expect(after).toHaveLength(1)
    expect(await verifyPassword(parseStoredPassword(after[0].password)!, Buffer.from('two'))).toBe(true)
    expect(readFileSync(file, 'utf8')).toMatch(/^# people\n/)
    expect((await login(file)).code).toBe(0)
  })

  // `script` gives the command a terminal.
  const script = spawnSync('script', ['--version']).status === 0
  test.skipIf(!script)('asks on a terminal, twice, and shows nothing of it', async () => {
    const file = newPath()
    const command = `${process.execPath} ${await builtMain()} passwd ${file} carol`
    const terminal = new CliProcess(spawn('script', ['-qec', command, '/dev/null']))
    await terminal.waitFor(/Password: /)
    terminal.child.stdin!.write('tops\u007fsecret\r')
    await terminal.waitFor(/Again: /)
    terminal.child.stdin!.write('topsecret\r')
    const { code, stdout } = await terminal.finished
    expect(stdout.replaceAll('\r', '')).toBe('Password: \nAgain: \nadded default/carol\n')
    expect(code).toBe(0)
    const [{ password }] = parse(readFileSync(file, 'utf8')).users
    expect(await verifyPassword(parseStoredPassword(password)!, Buffer.from('topsecret'))).toBe(true)
  })

  test('a file that is none of users stays as it is', async () => {
    const file = newPath()
    writeFileSync(file, 'users: 5\n')
    const { code, stderr } = await runCli(['passwd', file, 'alice', '--stdin'], { input: 'x' })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^flockmq: [^\n]+\n$/)
    expect(readFileSync(file, 'utf8')).toBe('users: 5\n')
  })

  test('what it refuses leaves the file alone', async () => {
    const file = newPath()
    const stdin = { input: 'x\n' }
    const refused = await Promise.all([
      runCli(['passwd', file, 'alice', '--delete']),
      runCli(['passwd', file, 'a', '--tenant', 'x/y', '--stdin'], stdin),
      runCli(['passwd', file, 'alice', '--stdin'], { input: '\n' }),
      runCli(['passwd', file, 'alice']),
      runCli(['passwd', '/nowhere/x', 'alice', '--stdin'], stdin),
    ])
    expect(refused.map(({ code, stdout, stderr }) => `${code} ${stdout}${stderr}`)).toEqual([
      `1 flockmq: There is no user "default/alice" in "${file}"\n`,
      '2 flockmq: The tenant "x/y" is not allowed: 1 to 64 letters, digits and _ . : @ -\n',
      '2 flockmq: An empty password is not allowed: nothing was changed\n',
      '2 flockmq: There is no terminal to ask for a password: use --stdin\n',
      expect.stringMatching(/^1 flockmq: Cannot change "\/nowhere\/x": ENOENT[^\n]*\n$/),
    ])
    expect(existsSync(file)).toBe(false)
  })
})
