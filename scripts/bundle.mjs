// @ts-check
// Puts the code of src/ into few files, because Node takes longer to load 150 small modules than to run them (docs/decisions/0038).
// What a program reaches lies in dist/chunks/. Each module keeps its path in dist/ as a file that names its exports, so that there is one copy of
// everything, whoever imports it and from where: the entries of the package, the scripts of processes and threads, and the tests.
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, relative } from 'node:path'
import { rolldown } from 'rolldown'

const core = ['index', 'client', 'testing/index']
const worker = ['worker/worker', 'pools/inline']
const workerCommand = ['cli/commands/worker']
const child = ['worker/child', 'worker/thread']
const children = ['pools/processes', 'pools/threads', 'pools/mixed']
const redis = [
  ...['transports/redis', 'transports/redis/option-table', 'backends/redis', 'backends/redis/option-table', 'limits/redis'],
  ...['internal/redis/target', 'internal/redis/link-options'],
]
const amqp = ['transports/amqp', 'transports/amqp/option-table', 'internal/amqp/target']
const sqlite = ['transports/sqlite', 'backends/sqlite', 'limits/sqlite']
const memory = ['transports/memory', 'backends/memory', 'limits/memory']
const beat = ['beat/open-beat']
const rpc = ['backends/rpc', 'backends/rpc/option-table', 'backends/rpc/brokers']

/**
 * The chunks, first come first served: a module is in the first one whose roots reach it by static imports; where a chunk has several groups of roots,
 * when two of them do. So no chunk imports a later one, and no driver is loaded for a part of it that another uses.
 * What is imported dynamically and in none of these has a chunk of its own.
 * @type {readonly (readonly [name: string, groups: readonly (readonly string[])[]])[]}
 */
const chunks = [
  // `celeriac --help` loads no more.
  ['base', [['cli/main'], [...core, ...worker, ...child, 'telemetry/opentelemetry']]],
  ['core', [core]],
  ['cli', [['cli/main']]],
  [
    'shared',
    [worker, workerCommand, child, children, redis, amqp, sqlite, memory, beat, ['serializers/msgpack'], ['telemetry/prometheus']],
  ],
  ['worker', [worker]],
  ['commands', ['worker', 'call', 'status', 'schedule'].map((name) => [`cli/commands/${name}`])],
  ['child', [child]],
  ['children', [children]],
  ['redis', [redis]],
  ['amqp', [amqp]],
  ['rpc', [rpc]],
  ['sqlite', [sqlite]],
  ['memory', [memory]],
  ['beat', [beat]],
]

/** Scripts that do something when they are loaded: in no chunk, since others load those. */
const scripts = ['cli/main', 'worker/child', 'worker/thread', 'transports/redis/lease-thread']

/**
 * @param {{ readonly root: string, readonly outDir: string }} where absolute
 * @returns {Promise<void>}
 */
export async function bundle({ root, outDir }) {
  const src = join(root, 'src')
  const modules = readdirSync(src, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => withoutEnding(file.replaceAll('\\', '/')))
    .sort()
  const moduleOf = (/** @type {string} */ id) => withoutEnding(relative(src, id).replaceAll('\\', '/'))
  const { dependencies, optionalDependencies, peerDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const packages = Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })
  /** @type {Map<string, string>} */
  let places = new Map()
  const bundled = await rolldown({
    cwd: root,
    input: Object.fromEntries(modules.map((module) => [module, join(src, `${module}.ts`)])),
    external: [/^node:/, ...packages],
    platform: 'node',
    resolve: { extensionAlias: { '.js': ['.ts'] } },
    transform: { target: 'es2023' },
    // Chunks export what other chunks need; what a module's own file exports is what the module does.
    preserveEntrySignatures: 'allow-extension',
    plugins: [
      {
        name: 'chunks-by-reach',
        transform: { filter: { code: 'import.meta.url' }, handler: (code, id) => fromOwnPlace(code, moduleOf(id)) },
        buildEnd() {
          const own = (/** @type {readonly string[]} */ ids) => ids.filter((id) => id.startsWith(src)).map(moduleOf)
          const edges = modules.map((module) => {
            const { importedIds = [], dynamicallyImportedIds = [] } = this.getModuleInfo(join(src, `${module}.ts`)) ?? {}
            return /** @type {const} */ ([module, { imports: own(importedIds), dynamic: own(dynamicallyImportedIds) }])
          })
          places = placesOf(new Map(edges))
        },
        generateBundle: (_options, output) => straightToChunks(output),
      },
    ],
    onLog: (level, { code, message }) => {
      // A package that package.json does not name, or a file that is not there.
      if (code === 'UNRESOLVED_IMPORT') throw new Error(message)
      // How long it took, and which dynamic imports are of what is in memory anyway, is no news.
      if (level === 'warn' && code !== 'PLUGIN_TIMINGS' && code !== 'INEFFECTIVE_DYNAMIC_IMPORT') process.stderr.write(`${message}\n`)
    },
  })
  await bundled.write({
    dir: outDir,
    format: 'es',
    comments: false,
    sourcemap: true,
    minifyInternalExports: false,
    entryFileNames: '[name].js',
    chunkFileNames: 'chunks/[name].js',
    codeSplitting: {
      // The places tell it for each module.
      includeDependenciesRecursively: false,
      groups: [{ debugName: 'reach', name: (id) => (id.startsWith(src) ? (places.get(moduleOf(id)) ?? null) : 'base') }],
    },
  })
  await bundled.close()
}

/** @typedef {ReadonlyMap<string, { readonly imports: readonly string[], readonly dynamic: readonly string[] }>} Edges */

/**
 * The chunk of each module.
 * @param {Edges} edges
 */
function placesOf(edges) {
  /** @type {Map<string, string>} */
  const places = new Map()
  const alone = new Set([...[...edges.values()].flatMap(({ dynamic }) => dynamic), ...scripts])
  const others = [...alone].map((root) => /** @type {const} */ ([root.replaceAll('/', '-'), [[root]]]))
  for (const [name, groups] of [...chunks, ...others]) {
    /** @type {Map<string, number>} */
    const times = new Map()
    for (const group of groups) for (const module of reached(group, edges)) times.set(module, (times.get(module) ?? 0) + 1)
    const enough = Math.min(2, groups.length)
    for (const [module, count] of times) if (count >= enough && !places.has(module) && !scripts.includes(module)) places.set(module, name)
  }
  return places
}

/**
 * @param {readonly string[]} from
 * @param {Edges} edges
 */
function reached(from, edges) {
  const found = new Set(from)
  // A set gives what is added to it while it is walked.
  for (const module of found) for (const imported of edges.get(module)?.imports ?? []) found.add(imported)
  return found
}

/**
 * A chunk lies elsewhere than the modules in it: they go on naming files from where they were.
 * @param {string} code
 * @param {string} module
 */
function fromOwnPlace(code, module) {
  if (scripts.includes(module)) return null
  const moved = code.replaceAll(/new URL\('(\.[^']+)', import\.meta\.url\)/g, (_all, /** @type {string} */ path) => {
    const target = posix.join('..', posix.dirname(module), path)
    return `new URL('${target}', import.meta.url)`
  })
  return moved === code ? null : { code: moved, map: null }
}

/**
 * Makes dynamic imports name the chunk itself: the file of the module between them is for tests, and is not shipped.
 * @param {import('rolldown').OutputBundle} output
 */
function straightToChunks(output) {
  for (const file of Object.values(output)) {
    if (file.type !== 'chunk') continue
    file.code = file.code.replaceAll(/\bimport\("([^"]+\.js)"\)/g, (_import, /** @type {string} */ path) => {
      const target = output[posix.join(posix.dirname(file.fileName), path)]
      const whole = target?.type === 'chunk' ? /^export \{ ([^}]*) \} from "([^"]+)";$/.exec(target.code.trim()) : null
      if (target === undefined || whole === null) throw new Error(`${file.fileName} imports ${path}, which is not of one chunk`)
      const [, names = '', chunk = ''] = whole
      const direct = posix.relative(posix.dirname(file.fileName), posix.join(posix.dirname(target.fileName), chunk))
      // No more than the module has: who imports it may take all of it.
      const own = names.split(', ').map((name) => name.split(' as '))
      return `import("./${direct}").then((chunk) => ({ ${own.map(([from, to = from]) => `${to}: chunk.${from}`).join(', ')} }))`
    })
  }
}

/** @param {string} file */
function withoutEnding(file) {
  return file.slice(0, -'.ts'.length)
}
