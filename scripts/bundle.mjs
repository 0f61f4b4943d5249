// @ts-check
// Puts the code of src/ into few files, because Node takes longer to load 150 small modules than to run them (docs/decisions/0038).
// What a program reaches lies in dist/chunks/. Each module keeps its path in dist/ as a file that names its exports, so that there is one copy of
// everything, whoever imports it and from where: the entries of the package, the scripts of processes and threads, and the tests.
import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, relative } from 'node:path'
import { rolldown } from 'rolldown'

const core = ['index', 'client', 'testing/index']
const worker = ['worker/worker', 'cli/commands/worker']
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
  ['base', [core, ['cli/main']]],
  ['core', [core]],
  ['cli', [['cli/main']]],
  ['shared', [worker, child, children, redis, amqp, sqlite, memory, beat, ['serializers/msgpack'], ['telemetry/prometheus']]],
  ['commands', ['worker', 'call', 'status', 'schedule'].map((name) => [`cli/commands/${name}`])],
  ['worker', [worker]],
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
          const edges = (/** @type {string} */ module) => {
            const info = this.getModuleInfo(join(src, `${module}.ts`))
            const own = (/** @type {readonly string[]} */ ids) => ids.filter((id) => id.startsWith(src)).map(moduleOf)
            return { imports: own(info?.importedIds ?? []), dynamic: own(info?.dynamicallyImportedIds ?? []) }
          }
          places = placesOf(modules, edges)
        },
        generateBundle: (_options, output) => straightToChunks(output),
      },
    ],
    onLog: (_level, { code, message }) => {
      // A machine with other work to do is slow: nothing is wrong with the build.
      if (code === 'PLUGIN_TIMINGS') return
      // As meant: elsewhere, the module is reached without that import.
      if (code !== 'INEFFECTIVE_DYNAMIC_IMPORT') throw new Error(message)
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

/**
 * The chunk of each module.
 * @param {readonly string[]} modules
 * @param {(module: string) => { readonly imports: readonly string[], readonly dynamic: readonly string[] }} edges
 */
function placesOf(modules, edges) {
  /** @type {Map<string, string>} */
  const places = new Map()
  const alone = new Set([...modules.flatMap((module) => edges(module).dynamic), ...scripts])
  for (const [name, parts] of [...chunks, ...[...alone].map((root) => /** @type {const} */ ([root.replaceAll('/', '-'), [[root]]]))]) {
    /** @type {Map<string, number>} */
    const times = new Map()
    for (const part of parts) for (const module of reached(part, edges)) times.set(module, (times.get(module) ?? 0) + 1)
    const enough = Math.min(2, parts.length)
    for (const [module, count] of times) if (count >= enough && !places.has(module) && !scripts.includes(module)) places.set(module, name)
  }
  return places
}

/**
 * @param {readonly string[]} from
 * @param {(module: string) => { readonly imports: readonly string[] }} edges
 */
function reached(from, edges) {
  const found = new Set(from)
  // A set gives what is added to it while it is walked.
  for (const module of found) for (const imported of edges(module).imports) found.add(imported)
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
