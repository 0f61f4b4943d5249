/** The package as its users get it: packed, installed from the tarball into an empty project, and used there. */
import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'

const repository = fileURLToPath(new URL('..', import.meta.url))
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'celeriac-package-')))
const project = join(folder, 'project')
const installed = join(project, 'node_modules/celeriac')
const cli = join(installed, 'dist/cli/main.js')
let npmSaid = ''

const files: Readonly<Record<string, string>> = {
  'package.json': '{ "name": "shop", "version": "1.0.0", "type": "module" }',
  'tasks.ts': `import { Celeriac } from 'celeriac'
export const app = new Celeriac('shop')
export const add = app.task('add', (x: number, y: number) => x + y)
`,
  // A program that sends knows the tasks by name only: it runs on every Node without a compiler.
  'send.mjs': `import { createClient } from 'celeriac/client'
const { tasks } = createClient({ broker: 'sqlite://' })
console.log(await tasks.add.delay(2, 3).get({ timeout: 20 }))
`,
  'typed.ts': `import { Celeriac, chain, currentTask, TaskFailure, type TasksOf } from 'celeriac'
import { createClient } from 'celeriac/client'
import { testApp } from 'celeriac/testing'
import { add, app } from './tasks.js'
const five: Promise<number> = add.delay(2, 3).get()
const client = createClient<TasksOf<typeof import('./tasks.js')>>({ broker: 'sqlite://' })
const six: Promise<number> = client.tasks.add.delay(3, 3).get()
// @ts-expect-error text is no number
add.delay('2', 3)
export { app, Celeriac, chain, client, currentTask, five, six, TaskFailure, testApp }
`,
  'tsconfig.json': JSON.stringify({
    compilerOptions: {
      module: 'nodenext',
      target: 'es2023',
      lib: ['es2023', 'esnext.disposable'],
      strict: true,
      noEmit: true,
      skipLibCheck: false,
      types: ['node'],
    },
    files: ['typed.ts', 'tasks.ts'],
  }),
  'require.cjs': `const { Celeriac } = require('celeriac')
console.log(typeof Celeriac, typeof require('celeriac/client').createClient, typeof require('celeriac/testing').testApp)
`,
  'peers.mjs': `import { Celeriac } from 'celeriac'
for (const broker of ['redis://:geheim@localhost/0', 'amqp://guest:geheim@localhost//']) {
  const app = new Celeriac('shop', { broker })
  await app.sendTask('add', {}, { retry: false }).catch((error) => console.log(error.code, error.message))
  await app.close()
}
`,
  'import.mjs': `import { Celeriac } from 'celeriac'
import { createClient } from 'celeriac/client'
import { testApp } from 'celeriac/testing'
console.log(typeof Celeriac, typeof createClient, typeof testApp)
`,
}

beforeAll(() => {
  const packed = npm(['pack', repository, '--pack-destination', folder, '--json'], folder)
  const [{ filename }] = JSON.parse(packed.stdout) as [{ filename: string }] // what npm documents for --json
  mkdirSync(project)
  for (const [path, text] of Object.entries(files)) writeFileSync(join(project, path), text)
  const install = npm(['install', '--prefer-offline', '--no-audit', '--no-fund', join(folder, filename)], project)
  npmSaid = `${install.stdout}${install.stderr}`
}, 120_000)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('npm has nothing to say about the installation', () => {
  // What npm says of the user's own settings is not about this package.
  const lines = npmSaid
    .split('\n')
    .filter((line) => /warn|deprecat|error/i.test(line) && !/Unknown (user|env|project|global) config/.test(line))
  expect(lines).toEqual([])
})

test('nothing in the installed tree has an install script', () => {
  const withScripts = manifestsIn(join(project, 'node_modules')).filter(({ path, scripts = {} }) => {
    const found = ['preinstall', 'install', 'postinstall'].filter((script) => script in scripts)
    return found.length > 0 || existsSync(join(dirname(path), 'binding.gyp'))
  })
  expect(withScripts.map(({ path }) => path)).toEqual([])
})

test('only the build and the pages for users are shipped', () => {
  const shipped = readdirSync(installed).filter((entry) => entry !== 'node_modules')
  expect(shipped.sort()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'dist', 'package.json'])
  const paths = readdirSync(join(installed, 'dist'), { recursive: true, encoding: 'utf8' }).map((path) => join(installed, 'dist', path))
  const built = paths.filter((path) => statSync(path).isFile())
  expect(built.filter((path) => !/\.(js|d\.ts)$/.test(path))).toEqual([])
  const bytes = built.reduce((sum, path) => sum + statSync(path).size, 0)
  console.log(`the unpacked package: ${built.length} files, ${Math.round(bytes / 1024)} KiB`)
  expect(bytes).toBeLessThan(2.5 * 1024 * 1024)
})

test('what is shipped loads only what is shipped, and all of it is loaded by something', () => {
  const scripts = readdirSync(join(installed, 'dist'), { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.js'))
  const named = new Set(
    scripts.flatMap((path) =>
      [...readFileSync(join(installed, 'dist', path), 'utf8').matchAll(/(?:from |import |import\(|new URL\()"(\.[^"]+\.js)"/g)].map(
        ([, target = '']) => join(dirname(path), target),
      ),
    ),
  )
  expect([...named].filter((path) => !existsSync(join(installed, 'dist', path)))).toEqual([])
  const entries = ['index.js', 'client.js', 'testing/index.js', 'cli/main.js']
  expect(scripts.filter((path) => !named.has(path) && !entries.includes(path))).toEqual([])
})

test('a tasks file, a worker from the command line and a script of three lines give a result; the script ends by itself', async () => {
  const worker = spawn(process.execPath, [cli, '-A', './tasks.ts', 'worker', '--concurrency', '1'], {
    cwd: project,
    env: environment(),
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const ended = once(worker, 'close')
  try {
    let said = ''
    worker.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    while (!said.includes('ready.')) {
      if (worker.exitCode !== null) throw new Error(`the worker ended: ${said}`)
      await Promise.race([once(worker.stderr, 'data'), ended])
    }
    expect(node(['send.mjs'])).toEqual({ code: 0, stdout: '5\n', stderr: '' })
    const called = node([cli, '-A', './tasks.ts', 'call', 'add', '20', '22', '--wait', '-q'])
    expect(called).toEqual({ code: 0, stdout: '42\n', stderr: '' })
  } finally {
    worker.kill('SIGTERM')
    await ended
  }
  expect(worker.exitCode).toBe(0)
})

test('every entry is there for import and for require', () => {
  const expected = { code: 0, stdout: 'function function function\n', stderr: '' }
  expect(node(['import.mjs'])).toEqual(expected)
  const required = node(['require.cjs'])
  // Node 20 and 22 say that require() of ES modules is experimental, unless the caller is in node_modules.
  expect({ ...required, stderr: required.stderr.replaceAll(/^.*(ExperimentalWarning|--trace-warnings).*\n/gm, '') }).toEqual(expected)
})

test('a broker whose package is not installed is told with the command that installs it', () => {
  expect(node(['peers.mjs'])).toEqual({
    code: 0,
    stdout: `ERR_DRIVER_NOT_INSTALLED The broker or backend redis://:**@localhost/0 needs the "ioredis" package. Run: npm install ioredis
ERR_DRIVER_NOT_INSTALLED The broker or backend amqp://guest:**@localhost// needs the "amqplib" package. Run: npm install amqplib
`,
    stderr: '',
  })
})

test('a TypeScript project compiles against it, declarations included', () => {
  mkdirSync(join(project, 'node_modules/@types'), { recursive: true })
  symlinkSync(join(repository, 'node_modules/@types/node'), join(project, 'node_modules/@types/node'))
  expect(node([join(repository, 'node_modules/typescript/bin/tsc'), '-p', project])).toEqual({ code: 0, stdout: '', stderr: '' })
})

test('the lock file has all that npm ci looks for, packages for other systems too', () => {
  const { packages } = JSON.parse(readFileSync(join(repository, 'package-lock.json'), 'utf8')) as { packages: Record<string, Locked> } // npm's format
  const missing = Object.entries(packages).flatMap(([path, { dependencies, optionalDependencies }]) =>
    Object.keys({ ...dependencies, ...optionalDependencies }).filter(
      (name) => packages[`node_modules/${name}`] === undefined && packages[`${path}/node_modules/${name}`] === undefined,
    ),
  )
  expect(missing).toEqual([])
})

function npm(args: readonly string[], cwd: string): SpawnSyncReturns<string> {
  const ran = spawnSync('npm', args, { cwd, env: environment(), encoding: 'utf8', shell: process.platform === 'win32' })
  if (ran.status !== 0) throw new Error(`npm ${args[0]} ended with ${ran.status}: ${ran.stderr}`)
  return ran
}

function node(args: readonly string[]): { readonly code: number | null; readonly stdout: string; readonly stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: project,
    env: environment(),
    encoding: 'utf8',
    timeout: 80_000,
  })
  return { code: status, stdout, stderr }
}

/** Without our options, and without what npm tells the scripts of this repository about this repository. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !/^(CELERIAC_|CELERY_|NODE_OPTIONS$|npm_package_|npm_lifecycle_|npm_config_local_prefix$|npm_config_prefix$)/.test(name),
    ),
  )
}

interface Locked {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

interface Manifest {
  readonly path: string
  readonly scripts?: Readonly<Record<string, string>>
}

function manifestsIn(nodeModules: string): Manifest[] {
  return readdirSync(nodeModules, { recursive: true, encoding: 'utf8' })
    .filter((path) => /(^|node_modules\/)(@[^/]+\/)?[^/]+\/package\.json$/.test(path.replaceAll('\\', '/')))
    .map((path) => ({ ...JSON.parse(readFileSync(join(nodeModules, path), 'utf8')), path: join(nodeModules, path) }))
}
