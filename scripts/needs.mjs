// @ts-check
// What the tests need of the machine beyond npm packages: one row each. `find` is quick and starts nothing; `make` installs what is missing and throws
// an Error that says exactly why it could not. scripts/install.mjs makes, tests ask `needs` and skip with the reason.
import { execFileSync } from 'node:child_process'
import { accessSync, constants, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const venv = join(root, '.cache', 'python')
const python = join(venv, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python')
const celery = 'celery[redis,msgpack,yaml,brotli]>=5.6'
/** Written last, with what was installed: a venv that was interrupted half-way is made anew. */
const venvStamp = join(venv, 'celeriac-installed')

/** @type {Record<string, { what: string, find: () => string | undefined, make: () => void }>} */
export const needs = {
  celery: {
    what: `Python with ${celery}`,
    find: () => (existsSync(python) && existsSync(venvStamp) && readFileSync(venvStamp, 'utf8').startsWith(celery) ? python : undefined),
    make: makeVenv,
  },
  // What Celery's solar schedules need.
  ephem: {
    what: 'PyEphem',
    find: () => (pythonPackage('ephem') ? python : undefined),
    make: () => run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', 'ephem>=4.1']),
  },
  flower: {
    what: 'Flower',
    find: () => (pythonPackage('flower') ? python : undefined),
    make: () => run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', 'flower>=2']),
  },
  // What Celery's serializer `auth` needs.
  cryptography: {
    what: 'cryptography of Python',
    find: () => (pythonPackage('cryptography') ? python : undefined),
    make: () => run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', 'cryptography>=42']),
  },
  redis: {
    what: 'redis-server',
    find: () => inPath('redis-server'),
    make: () => apt('redis-server'),
  },
  rabbitmq: {
    what: 'rabbitmq-server',
    // Debian's own command in PATH changes to the user rabbitmq; what is behind it runs as anybody.
    find: () => executable('/usr/lib/rabbitmq/bin/rabbitmq-server') ?? inPath('rabbitmq-server'),
    make: () => apt('rabbitmq-server'),
  },
  // A terminal for the live screen of `celeriac events`.
  tmux: {
    what: 'tmux',
    find: () => inPath('tmux'),
    make: () => apt('tmux'),
  },
  openssl: {
    what: 'openssl',
    find: () => inPath('openssl'),
    make: () => apt('openssl'),
  },
}

/** @param {string} name Whether the venv has it. */
function pythonPackage(name) {
  const versions = join(venv, 'lib')
  return existsSync(versions) && readdirSync(versions).some((version) => existsSync(join(versions, version, 'site-packages', name)))
}

function makeVenv() {
  const python3 = inPath('python3') ?? inPath('python')
  if (python3 === undefined) throw new Error('there is no python3 in PATH')
  rmSync(venv, { recursive: true, force: true })
  mkdirSync(join(root, '.cache'), { recursive: true })
  let installed = celery
  try {
    try {
      run(python3, ['-m', 'venv', venv])
    } catch (error) {
      // Debian keeps ensurepip in a package of its own.
      if (inPath('apt-get') === undefined) throw error
      apt('python3-venv')
      rmSync(venv, { recursive: true, force: true })
      run(python3, ['-m', 'venv', venv])
    }
    run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', celery])
  } catch (error) {
    if (inPath('apt-get') === undefined) throw error
    process.stderr.write(`set-up: pip could not install ${celery} (${lastLine(error)}); trying Debian's python3-celery\n`)
    apt('python3-celery', 'python3-redis', 'python3-msgpack', 'python3-yaml', 'python3-brotli')
    rmSync(venv, { recursive: true, force: true })
    run('/usr/bin/python3', ['-m', 'venv', '--system-site-packages', '--without-pip', venv])
    installed = `${celery} wanted, Debian's python3-celery taken`
  }
  run(python, ['-c', 'import celery'])
  writeFileSync(venvStamp, `${installed}\n`)
}

/** @param {string[]} packages */
function apt(...packages) {
  if (inPath('apt-get') === undefined)
    throw new Error(`install ${packages.join(' ')} with your system's package manager: there is no apt-get`)
  if (process.getuid?.() !== 0) throw new Error(`run: sudo apt-get install ${packages.join(' ')}`)
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const install = () => run('apt-get', ['install', '-y', '-q', '--no-install-recommends', ...packages], env)
  withoutServices(() => {
    try {
      install()
    } catch {
      // Fresh images have no package lists, or old ones.
      run('apt-get', ['update', '-q'], env)
      install()
    }
  })
}

/** Debian starts a server that is installed, unless this file says no; tests start their own. @param {() => void} install */
function withoutServices(install) {
  const policy = '/usr/sbin/policy-rc.d'
  if (existsSync(policy)) return install()
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    install()
  } finally {
    rmSync(policy)
  }
}

/** @param {string} command @param {string[]} args */
function run(command, args, env = process.env) {
  execFileSync(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env, maxBuffer: 64 * 1024 ** 2 })
}

/** @param {unknown} error What a failed command said last, which mostly is why. */
export function lastLine(error) {
  const text = error instanceof Error ? String(Reflect.get(error, 'stderr') || error.message) : String(error)
  return text.trim().split('\n').at(-1) ?? ''
}

/** @param {string} command */
function inPath(command) {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const file = executable(join(folder, process.platform === 'win32' ? `${command}.exe` : command))
    if (file !== undefined) return file
  }
  return undefined
}

/** @param {string} file */
function executable(file) {
  try {
    accessSync(file, constants.X_OK)
    return file
  } catch {
    return undefined
  }
}
