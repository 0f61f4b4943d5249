import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { banner } from '../../dist/cli/banner.js'
import { commandTable } from '../../dist/cli/command-table.js'
import { exitCodeOf } from '../../dist/cli/exit-codes.js'
import { Celeriac } from '../../dist/index.js'
import { Project, shop } from './project.js'

test('the help names every command and loads none, and no app', async () => {
  await using project = new Project({})
  const loaded = join(project.folder, 'loaded.txt')
  const hooks = `import { appendFileSync } from 'node:fs'\nexport const load = (url, context, next) => { appendFileSync(${JSON.stringify(loaded)}, url + '\\n'); return next(url, context) }`
  writeFileSync(join(project.folder, 'hooks.mjs'), hooks)
  writeFileSync(join(project.folder, 'register.mjs'), `import { register } from 'node:module'\nregister('./hooks.mjs', import.meta.url)`)
  const { code, stdout } = await project.run(['--help'], { NODE_OPTIONS: `--import=./register.mjs` })
  expect(code).toBe(0)
  for (const { name, summary } of commandTable) expect(stdout.replaceAll(/\s+/g, ' ')).toMatch(new RegExp(`${name} .*${summary}`))
  const files = readFileSync(loaded, 'utf8').matchAll(/\/dist\/(\S+)/g)
  expect([...files].map(([, file]) => file).sort()).toEqual(['chunks/base.js', 'chunks/cli.js', 'cli/main.js'])
})

test('a worker tells at its start how large its pool is, or may become', () => {
  const told = (options: object) => {
    const { core } = Celeriac.internals(new Celeriac('shop', options))
    return banner({ core, version: '1', hostname: 'w', file: '/app.ts', queues: ['celery'] })
  }
  expect(told({ workerConcurrency: 3 })).toContain('pool     prefork ×3 · prefetch 4')
  expect(told({ workerAutoscale: '10,2' })).toContain('pool     prefork ×2–10 · prefetch 4')
})

test('the version is that of the package', async () => {
  await using project = new Project({})
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  expect(await project.run(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
})

test.each<[string[], number, string]>([
  [['wrker'], 64, 'Did you mean worker?'],
  [['worker', '--concurency', '3'], 64, 'Did you mean --concurrency?'],
  [['worker', '-c', 'many'], 64, 'expected --concurrency to be a whole number above 0, got: "many"'],
  [['--broker', 'redis', 'worker'], 64, 'expected --broker to be a URL such as "sqlite://", or a list of them, got: "redis"'],
  [['call'], 64, "missing required argument 'task'\n(celeriac call --help shows what there is)"],
  [['list', 'tsks'], 64, 'expected celeriac list bindings|queues|tasks, got: tsks. Did you mean tasks?'],
  [['graph', 'wrkers'], 64, 'expected celeriac graph workers|routes|result|workflow, got: wrkers. Did you mean workers?'],
  [['multi', 'expnd'], 64, 'show|get|expand, got: expnd. Did you mean expand?'],
  [['call', 'add', '-a', '5'], 64, 'expected --args to be a JSON array such as \'[1, "two"]\', got: 5'],
  [['call', 'add', '-k', '[]'], 64, 'expected --kwargs to be a JSON object'],
  [['call', 'add', '--eta', 'soon'], 64, 'expected --eta to be a time such as 2030-01-31T12:00:00Z, got: soon'],
  [['call', 'add', '--priority', '-1'], 64, 'expected --priority to be a whole number from 0 to 255, got: -1'],
  [['call', 'add'], 78, 'ERR_APP_NOT_FOUND  no app was named and none was found'],
  [['-A', './no.ts', 'call', 'add'], 78, 'ERR_APP_NOT_FOUND  there is no app at "./no.ts"'],
])('%j ends with %i and says what is wrong', async (args, code, message) => {
  await using project = new Project({})
  const ended = await project.run(args)
  expect([ended.code, ended.stdout]).toEqual([code, ''])
  expect(ended.stderr).toContain(message)
})

test('a queue that the app nearly has is told of, and used all the same', async () => {
  await using project = new Project({ 'tasks.ts': shop })
  expect(await project.run(['call', 'add', '1', '2', '--queue', 'celry'])).toMatchObject({
    code: 0,
    stderr: expect.stringContaining('it has celery'),
  })
})

test('an error says what to do, and with --verbose where it is from', async () => {
  await using project = new Project({ 'broken.ts': `throw new Error('no database')` })
  const short = await project.run(['-A', './broken.ts', 'call', 'add'])
  expect(short).toMatchObject({
    code: 78,
    stderr: expect.stringMatching(/^error {2}ERR_APP_NOT_FOUND {2}broken\.ts could not be loaded: no database\n {7}Name the file .*\n$/),
  })
  const long = await project.run(['-A', './broken.ts', 'call', 'add', '--verbose'])
  expect(long.stderr).toMatch(/caused by: Error: no database\n {4}at .*broken\.ts/)
})

test('what is wrong is told of the option that has it wrong, with its own code', async () => {
  await using project = new Project({
    'tasks.ts': shop,
    'options.ts': `import { Celeriac } from 'celeriac'\nexport const app = new Celeriac('shop', { taskAcksLat: true })`,
  })
  const unknown = await project.run(['-A', './options.ts', 'report'])
  expect(unknown).toMatchObject({ code: 78, stderr: expect.stringMatching(/^error {2}ERR_OPTION_UNKNOWN .*Did you mean "taskAcksLate"\?/) })
  const scheme = await project.run(['result', 'some-id'], { CELERIAC_BROKER_URL: 'kafka://host' })
  expect(scheme).toMatchObject({ code: 78, stderr: expect.stringContaining('expected a broker URL that starts with one of "memory:"') })
})

test('every option has its value and its source, and no secret is shown', async () => {
  await using project = new Project({ 'tasks.ts': shop })
  const { code, stdout } = await project.run(['inspect-config', '--json'], { CELERY_BROKER_URL: 'redis://:geheim@host' })
  expect(code).toBe(0)
  const options: { option: string; value: string; source: string }[] = JSON.parse(stdout)
  expect(options.find(({ option }) => option === 'brokerUrl')).toMatchObject({ source: 'CELERY_BROKER_URL' })
  expect(options.find(({ option }) => option === 'resultExpires')).toEqual({ option: 'resultExpires', value: '2h', source: 'app' })
  expect(stdout).not.toContain('geheim')
  const changed = await project.run(['-b', 'memory://', 'inspect-config', '--changed'])
  expect(changed.stdout).toBe('brokerUrl      memory://  (CELERIAC_BROKER_URL)\nresultExpires  2h  (app)\n')
})

test('the app may be named by the environment, flags may stand before or after the command', async () => {
  await using project = new Project({ 'deep/mine.ts': shop })
  const named = await project.run(['inspect-config', '--changed'], { CELERY_APP: './deep/mine.ts' })
  expect(named).toMatchObject({ code: 0, stderr: '' })
  const after = await project.run(['inspect-config', '--changed', '--workdir', 'deep', '-A', './mine.ts:app', '-b', 'memory://'])
  expect(after).toMatchObject({ code: 0, stdout: expect.stringContaining('memory://') })
})

test('what the system refuses has a code of its own, and what nobody knows is a fault', () => {
  const refused = (run: () => void): number => {
    try {
      run()
    } catch (error) {
      return exitCodeOf(error)
    }
    return -1
  }
  expect(refused(() => readFileSync(join(tmpdir(), 'no', 'such', 'file')))).toBe(73)
  expect(refused(() => mkdirSync(tmpdir()))).toBe(73)
  expect(exitCodeOf(Object.assign(new Error('EACCES'), { code: 'EACCES', syscall: 'open' }))).toBe(77)
  expect(exitCodeOf(new TypeError('x is not a function'))).toBe(70)
})
