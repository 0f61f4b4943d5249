// @ts-check
// The peers, in bench's own folder: BullMQ and bee-queue from npm, their versions pinned in package.json, hiredis (the parser that redis-py recommends) beside the Celery of the tests.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { needs } from '../scripts/needs.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const root = fileURLToPath(new URL('..', import.meta.url))
/** Python packages that only the benchmark needs. */
export const pythonModules = join(root, '.cache', 'bench', 'python')

/** Installs what is missing. @returns {{ python: string }} */
export function makePeers() {
  const { dependencies } = JSON.parse(readFileSync(join(here, 'package.json'), 'utf8'))
  if (!Object.keys(dependencies).every((name) => existsSync(join(here, 'node_modules', name)))) {
    process.stderr.write('bench: npm install in bench/\n')
    execFileSync('npm', ['install', '--no-package-lock', '--no-audit', '--no-fund'], { cwd: here, stdio: ['ignore', 'ignore', 'inherit'] })
  }
  for (const name of ['redis', 'celery', 'rabbitmq']) {
    const need = needs[name]
    if (need === undefined || need.find() !== undefined) continue
    process.stderr.write(`bench: installing ${need.what}\n`)
    need.make()
  }
  const python = needs.celery?.find()
  if (python === undefined) throw new Error('Celery could not be installed')
  if (!existsSync(join(pythonModules, 'hiredis'))) {
    mkdirSync(pythonModules, { recursive: true })
    execFileSync(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--target', pythonModules, 'hiredis'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  }
  return { python }
}

/** @param {string} python @returns {Record<string, string>} */
export function versions(python) {
  const names = ['celery', 'kombu', 'billiard', 'redis', 'hiredis', 'amqp']
  const code = `import importlib.metadata as m, json, platform; print(json.dumps({**{n: m.version(n) for n in ${JSON.stringify(names)}}, 'Python': platform.python_version()}))`
  const installed = JSON.parse(execFileSync(python, ['-c', code], { encoding: 'utf8', env: { ...process.env, PYTHONPATH: pythonModules } }))
  /** @param {string} name */
  const npm = (name) => JSON.parse(readFileSync(join(here, 'node_modules', name, 'package.json'), 'utf8')).version
  const server = /v=([\d.]+)/.exec(execFileSync(needs.redis?.find() ?? 'redis-server', ['--version'], { encoding: 'utf8' }))?.[1] ?? '?'
  return {
    node: process.versions.node,
    celeriac: JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version,
    bullmq: npm('bullmq'),
    'bee-queue': npm('bee-queue'),
    ioredis: npm('ioredis'),
    amqplib: JSON.parse(readFileSync(join(root, 'node_modules', 'amqplib', 'package.json'), 'utf8')).version,
    'redis-server': server,
    ...installed,
  }
}
