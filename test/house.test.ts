/** The walls of docs/architecture.md. A test that fails here asks for a decision: move the code, or change the rule and the page together. */
import { existsSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { expect, test } from 'vitest'
import { rows } from '../dist/app/config-table.js'
import { importsOf, packageOf, sourceFiles, src } from './imports.js'

const files = sourceFiles()
const imports = files.flatMap(importsOf)
const manifest = JSON.parse(readFileSync(join(src, '../package.json'), 'utf8'))

const ground = ['internal', 'errors']
const contracts = ['transport', 'backend', 'pool', 'serializer', 'schedule-store', 'limit-store']
const app = [...ground, 'protocol', 'serializers', ...contracts, 'canvas', 'events', 'control', 'limits', 'app']
const running = [...app, 'beat', 'worker', 'http', 'telemetry', 'pools']

/** What each folder, or file of src itself, may import beside itself. Never upwards. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  'error-help': [],
  internal: ['errors'],
  // One level: what is on the wire, and how it is written.
  protocol: [...ground, 'serializer', 'serializers'],
  serializer: [...ground, 'protocol'],
  serializers: [...ground, 'protocol', 'serializer'],
  'schedule-store': [...ground, 'protocol'],
  'limit-store': ground,
  transport: [...ground, 'protocol'],
  backend: [...ground, 'protocol'],
  pool: [...ground, 'protocol'],
  // Drivers know their contract, and neither each other nor the app.
  transports: [...ground, 'protocol', 'transport', 'serializer', 'serializers'],
  backends: [...ground, 'protocol', 'backend', 'serializer', 'serializers'],
  pools: [...ground, 'protocol', 'pool'],
  limits: [...ground, 'limit-store'],
  canvas: [...ground, 'protocol'],
  app: [...app, 'transports/index', 'backends/index'],
  // What is said to monitors and asked of workers, over any connection.
  events: [...ground, 'protocol', 'serializers', 'transport'],
  control: [...ground, 'protocol', 'serializers', 'transport'],
  beat: app,
  worker: running,
  http: running,
  telemetry: running,
  cli: [...running, 'error-help'],
  integrations: running,
  testing: [...running, 'transports', 'backends'],
  client: app,
  index: [...running, 'client', 'testing'],
}

/** Imports against the direction, each at run time only, with its reason. */
const upwardDynamic: Readonly<Record<string, { readonly to: string; readonly because: string }>> = {
  'app/beat-side.ts': {
    to: 'beat/open-beat.ts',
    because: 'app.beat() and app.schedule are on the app; a program that uses neither loads no beat',
  },
  'app/telemetry.ts': { to: 'telemetry/opentelemetry.ts', because: 'programs without OpenTelemetry load none of it' },
  'app/app.ts': { to: 'worker/worker.ts', because: 'app.worker() is on the app; a program that only sends loads no worker code' },
}

/** Files over 400 lines, each with the reason why it is still one concept. */
const longFiles: Readonly<Record<string, string>> = {
  'errors.ts': 'a list: every error class, and nothing else',
}

/** `transports/index` of transports/index.ts, `app` of app/sender.ts, `errors` of errors.ts. */
function layersOf(file: string): readonly string[] {
  const [folder = '', ...rest] = file.replace(/\.ts$/, '').split('/')
  return rest.length === 0 ? [folder] : [folder, `${folder}/${rest.join('/')}`]
}

test('every folder has its place in the order of layers', () => {
  expect([...new Set(files.map((file) => layersOf(file)[0] ?? ''))].filter((layer) => mayImport[layer] === undefined)).toEqual([])
})

test('nothing is imported upwards', () => {
  const wrong = imports.filter(({ file, target, local, dynamic }) => {
    if (!local) return false
    const [from = ''] = layersOf(file)
    const [to = ''] = layersOf(target)
    if (from === to || layersOf(target).some((layer) => mayImport[from]?.includes(layer))) return false
    return !(dynamic && upwardDynamic[file]?.to === target)
  })
  expect(wrong.map(({ file, target }) => `${file} → ${target}`)).toEqual([])
})

test('every exception to the layers is in use', () => {
  for (const [file, { to }] of Object.entries(upwardDynamic)) {
    expect(imports.find((found) => found.file === file && found.target === to)?.dynamic, `${file} → ${to}`).toBe(true)
  }
})

test('every local import names a file', () => {
  expect(
    imports
      .filter(({ target, local }) => local && !files.includes(target) && !target.endsWith('.json'))
      .map(({ file, target }) => `${file} → ${target}`),
  ).toEqual([])
})

test('imports make no circle, types included', () => {
  const edges = new Map<string, string[]>()
  for (const { file, target, local, dynamic } of imports) if (local && !dynamic) edges.set(file, [...(edges.get(file) ?? []), target])
  const done = new Set<string>()
  const circles: string[] = []
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) {
      circles.push([...path.slice(path.indexOf(file)), file].join(' → '))
      return
    }
    if (done.has(file)) return
    for (const target of edges.get(file) ?? []) visit(target, [...path, file])
    done.add(file)
  }
  for (const file of files) visit(file, [])
  expect(circles).toEqual([])
})

test('no file imports the face of the package', () => {
  expect(imports.filter(({ target }) => target === 'index.ts').map(({ file }) => file)).toEqual([])
})

test('what package.json exports is what was built', () => {
  const exported = Object.values<string | { types: string; default: string }>(manifest.exports).flatMap((entry) =>
    typeof entry === 'string' ? [entry] : Object.values(entry),
  )
  const named = [...exported, manifest.main, manifest.types, ...Object.values<string>(manifest.bin)]
  expect(named.filter((path) => !existsSync(join(src, '..', path)))).toEqual([])
  const subPaths = Object.keys(manifest.exports).filter((path) => path !== '.' && path !== './package.json')
  expect(Object.keys(manifest.typesVersions['*']).sort()).toEqual(subPaths.map((path) => path.slice(2)).sort())
})

test('declared packages are the imported ones', () => {
  const declared = ['dependencies', 'optionalDependencies', 'peerDependencies'].flatMap((kind) => Object.keys(manifest[kind] ?? {}))
  const imported = new Set(
    imports.filter(({ target, local }) => !local && !target.startsWith('node:')).map(({ target }) => packageOf(target)),
  )
  // Optional packages may be named to a function that imports them (internal/import-peer.ts).
  const mentioned = files.map((file) => readFileSync(join(src, file), 'utf8')).join('\n')
  expect([...imported].filter((name) => !declared.includes(name))).toEqual([])
  expect(declared.filter((name) => !imported.has(name) && !mentioned.includes(`'${name}'`))).toEqual([])
  for (const peer of Object.keys(manifest.peerDependencies)) expect(manifest.peerDependenciesMeta[peer]).toEqual({ optional: true })
})

test('nothing is accepted and ignored: every option is read', () => {
  const readers = files
    .filter((file) => !/^app\/config/.test(file) && !file.startsWith('cli/'))
    .map((file) => readFileSync(join(src, file), 'utf8'))
  expect(rows.map(([option]) => option).filter((option) => !readers.some((source) => new RegExp(`\\b${option}\\b`).test(source)))).toEqual(
    [],
  )
})

test('only load-config reads the environment', () => {
  const reasons: Readonly<Record<string, string>> = {
    'app/load-config.ts': 'the one place',
    'cli/main.ts': 'NO_COLOR, before any app is known',
    'internal/failpoints.ts': 'armed by tests in any process, drivers included, which know no config',
    'worker/make-pool.ts': 'handed to child processes as it is',
  }
  const readers = files.filter((file) =>
    /\bprocess\.env\b/.test(readFileSync(join(src, file), 'utf8').replaceAll(/\/\/.*|\/\*[\s\S]*?\*\//g, '')),
  )
  expect(readers.filter((file) => reasons[file] === undefined)).toEqual([])
})

test('a file has a name that says what is in it, and a length that lets it be read', () => {
  expect(files.filter((file) => /^(utils?|helpers?|common|types|interfaces|misc|shared)\.ts$/.test(basename(file)))).toEqual([])
  const long = files.filter((file) => readFileSync(join(src, file), 'utf8').split('\n').length > 400)
  expect(long.filter((file) => longFiles[file] === undefined)).toEqual([])
  expect(Object.keys(longFiles).filter((file) => !long.includes(file))).toEqual([])
})

test('no work is left in words', () => {
  expect(files.filter((file) => /\b(TODO|FIXME|XXX|HACK)\b|not (yet )?implemented/.test(readFileSync(join(src, file), 'utf8')))).toEqual([])
})
