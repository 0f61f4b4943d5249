// @ts-check
// Writes what can be derived: docs/config.md, docs/errors.md and docs/cli.md from the built code, and snippets in README.md and docs from files that are
// type-checked and run, and tables from the drivers and from what the fault tests have seen. `--check` writes nothing and fails when a file is not what it would be.
//
// A snippet is a fenced block below `<!-- from examples/hello/tasks.ts -->`, or `<!-- from examples/hello/main.mjs#sending -->` for the lines between
// `// region sending` and `// endregion`.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { fillAbilities, fillSeen } from './guarantees.mjs'

const generatedNote = '<!-- Written by `npm run docs`: change what it is made from. -->'

/** What the documentation of the project in `root` should be, by path. @param {string} root @returns {Promise<Map<string, string>>} */
export async function makeDocs(root) {
  const docs = new Map([
    ['docs/config.md', await configPage(root)],
    ['docs/errors.md', await errorsPage(root)],
    ['docs/cli.md', await cliPage(root)],
  ])
  for (const path of ['README.md', ...markdownIn(root, 'docs')]) {
    if (!docs.has(path) && existsSync(join(root, path))) docs.set(path, fillSnippets(readFileSync(join(root, path), 'utf8'), root, path))
  }
  for (const [path, text] of docs) {
    if (text.includes('<!-- from the drivers -->')) docs.set(path, fillAbilities(text, await driversOf(root)))
  }
  const guarantees = docs.get('docs/guarantees.md')
  if (guarantees !== undefined)
    docs.set('docs/guarantees.md', fillSeen(guarantees, readFileSync(join(root, 'docs/reliability-results.md'), 'utf8')))
  return docs
}

/** @param {string} text @param {string} root @param {string} path The page, for messages. */
export function fillSnippets(text, root, path) {
  return text.replaceAll(/(<!-- from (\S+?)(?:#(\S+))? -->\n+```[^\n]*\n)([\s\S]*?)(\n?```)/g, (_, head, file, region, __, end) => {
    if (!existsSync(join(root, file))) throw new Error(`${path} takes a snippet from ${file}, and there is no such file`)
    const source = readFileSync(join(root, file), 'utf8')
    return `${head}${snippet(source, region, `${path}: ${file}`).trimEnd()}\n${end.trimStart()}`
  })
}

/** @param {string} source @param {string | undefined} region @param {string} what */
function snippet(source, region, what) {
  const lines = source.split('\n')
  if (region === undefined) return lines.filter((line) => !/^\s*(?:\/\/|#) (?:region\b|endregion$)/.test(line)).join('\n')
  const start = lines.findIndex((line) => line.trim().replace(/^(?:\/\/|#) /, '') === `region ${region}`)
  if (start === -1) throw new Error(`${what} has no region ${region}`)
  const length = lines.slice(start).findIndex((line) => /^\s*(?:\/\/|#) endregion$/.test(line))
  if (length === -1) throw new Error(`${what}: region ${region} has no end`)
  const inside = lines.slice(start + 1, start + length)
  const indent = Math.min(...inside.filter((line) => line.trim() !== '').map((line) => line.length - line.trimStart().length))
  return inside.map((line) => line.slice(indent)).join('\n')
}

/** @param {string} root */
async function configPage(root) {
  const { rows } = await fromBuild(root, 'app/config-table.js')
  const { celeryName, environmentNames } = await fromBuild(root, 'app/config-names.js')
  const { celeryDefaults } = await fromBuild(root, 'app/config.js')
  const groups = new Map()
  for (const [option, row] of rows) groups.set(row.group, [...(groups.get(row.group) ?? []), [option, row]])
  const lines = [
    '# Options',
    generatedNote,
    "An option is given to `new Celeriac('shop', { taskAcksLate: false })` under its name here, or as Celery spells it (`task_acks_late`). `broker` and `backend` stand for `brokerUrl` and `resultBackend`.",
    `The environment wins over the program: \`${environmentNames('taskAcksLate').join('`, then `')}\`. Flags of the command line win over both. \`celeriac inspect-config\` shows every value and where it comes from.`,
    'Times are seconds, or text with a unit: `250ms`, `10s`, `5m`, `2h`, `1d`. An option that is not in this list is refused, not ignored. `beatSchedule` has [a page of its own](guide/scheduling.md).',
    `\`celeryDefaults\` is a preset with Celery's own values where ours differ: \`new Celeriac('shop', { ...celeryDefaults })\` has ${Object.entries(
      celeryDefaults,
    )
      .map(([option, value]) => `\`${option}: ${JSON.stringify(value)}\``)
      .join(', ')}.`,
  ]
  for (const [group, members] of groups) {
    lines.push(`## ${group}`)
    for (const [option, row] of members) {
      const facts = [
        `- Value: ${row.kind.expected}.`,
        `- Default: ${'value' in row.default ? `\`${row.kind.show(row.default.value)}\`` : row.default.says}${'celery' in row ? ` (Celery: \`${row.kind.show(row.celery)}\`)` : ''}.`,
        `- Also: ${[
          ...(row.own ? [] : [`Celery's \`${celeryName(option)}\``]),
          ...(row.kind.readText === undefined ? [] : [`\`${environmentNames(option)[0]}\``]),
          ...(row.flag === undefined ? [] : [`\`${row.flag}\``]),
        ].join(', ')}${row.own ? `${row.kind.readText === undefined ? 'c' : '; c'}eleriac's own.` : '.'}`,
      ]
      lines.push(`### ${option}`, row.sentence, facts.join('\n'))
    }
  }
  return page([
    ...lines,
    ...(await redisOptions(root)),
    ...(await amqpOptions(root)),
    ...(await rpcOptions(root)),
    ...(await celeryOptions(root)),
  ])
}

/** @param {string} root */
async function celeryOptions(root) {
  const { celeryElsewhere, otherBackends } = await fromBuild(root, 'app/config-elsewhere.js')
  const { celeryName } = await fromBuild(root, 'app/config-names.js')
  const named = Object.entries(celeryElsewhere).map(([option, instead]) => [celeryName(option), instead])
  return [
    "## Celery's settings that have no place here",
    'They are refused with what there is instead (`ERR_NOT_SUPPORTED`), in either spelling:',
    refusedTable(Object.fromEntries(named)),
    `And those of other result backends: ${otherBackends.map((/** @type {string} */ name) => `\`${name}_…\``).join(', ')}.`,
  ]
}

/** @param {string} root */
async function redisOptions(root) {
  const { redisBrokerTable, refusedBrokerOptions } = await fromBuild(root, 'transports/redis/option-table.js')
  const { redisBackendTable } = await fromBuild(root, 'backends/redis/option-table.js')
  const { refusedLinkOptions } = await fromBuild(root, 'internal/redis/link-options.js')
  const { redisSchemes } = await fromBuild(root, 'internal/redis/schemes.js')
  return [
    '## Redis as broker',
    `URLs start with ${redisSchemes.map((/** @type {string} */ scheme) => `\`${scheme}:\``).join(', ')}: \`redis://user:password@host:6379/0\`, \`rediss://\` with TLS (and \`ssl_ca_certs\`, \`ssl_certfile\`, \`ssl_keyfile\`, \`ssl_cert_reqs\`, \`ssl_check_hostname\` as in Celery), \`redis+socket:///run/redis.sock?virtual_host=0\`, \`sentinel://a:26379/0;sentinel://b:26379\`. They need the \`ioredis\` package. \`{ client }\` is a client of ioredis, \`redis\` or @redis/client that the program has already: celeriac opens connections of its own with its settings, and neither uses nor closes it.`,
    '`brokerTransportOptions` has these; each may be spelled as Celery does (`visibility_timeout`), times are seconds or text with a unit.',
    optionTable(redisBrokerTable),
    'Options of kombu that have no place here are refused with what there is instead:',
    refusedTable(refusedBrokerOptions),
    '## Redis as result backend',
    "URLs and `{ client }` as for the broker. `resultBackendTransportOptions` has these; where results are kept at the broker's own address, what `brokerTransportOptions` says of the connection holds for them, too.",
    optionTable(redisBackendTable),
    `Refused, as for the broker: ${Object.keys(refusedLinkOptions)
      .map((option) => `\`${option}\``)
      .join(', ')}.`,
  ]
}

/** @param {string} root */
async function amqpOptions(root) {
  const { amqpBrokerTable, refusedAmqpBrokerOptions } = await fromBuild(root, 'transports/amqp/option-table.js')
  const { amqpSchemes } = await fromBuild(root, 'internal/amqp/schemes.js')
  return [
    '## RabbitMQ as broker',
    `URLs start with ${amqpSchemes.map((/** @type {string} */ scheme) => `\`${scheme}:\``).join(', ')}: \`amqp://user:password@host:5672/vhost\` (\`amqp://host//\` is the virtual host \`/\`), \`amqps://\` with TLS (and \`ssl_ca_certs\`, \`ssl_certfile\`, \`ssl_keyfile\`, \`ssl_cert_reqs\`, \`ssl_check_hostname\` as in Celery), \`?heartbeat=10\`. They need the \`amqplib\` package.`,
    '`brokerTransportOptions` has these; each may be spelled as Celery does (`confirm_publish`), times are seconds or text with a unit.',
    optionTable(amqpBrokerTable),
    'Options of kombu and py-amqp that have no place here are refused with what there is instead:',
    refusedTable(refusedAmqpBrokerOptions),
  ]
}

/** @param {string} root */
async function rpcOptions(root) {
  const { rpcTable } = await fromBuild(root, 'backends/rpc/option-table.js')
  return [
    '## Results through RabbitMQ',
    '`resultBackend: "rpc://"` sends results back through the broker to the process that asked; see [RabbitMQ](rabbitmq.md). `resultBackendTransportOptions` has these; what `brokerTransportOptions` says of the connection holds for them, too.',
    optionTable(rpcTable),
  ]
}

/** @param {Record<string, { kind: { expected: string, show: (value: unknown) => string }, default: unknown, sentence: string }>} table */
function optionTable(table) {
  const rows = Object.entries(table).map(([option, { kind, default: value, sentence }]) => {
    const shown = value === undefined ? 'none' : `\`${kind.show(value)}\``
    return `| \`${option}\` | ${kind.expected} | ${shown} | ${sentence} |`
  })
  return ['| Option | Value | Default | |', '|---|---|---|---|', ...rows].join('\n')
}

/** @param {Record<string, string>} refused */
function refusedTable(refused) {
  return [
    '| Option | Instead |',
    '|---|---|',
    ...Object.entries(refused).map(([option, instead]) => `| \`${option}\` | ${instead} |`),
  ].join('\n')
}

/** @param {string} root */
async function errorsPage(root) {
  const { errorHelp } = await fromBuild(root, 'error-help.js')
  const lines = [
    '# Errors',
    generatedNote,
    'Every error of celeriac is a `CeleriacError` with a `code` that stays the same; its message says what happened, and its fields have the data. Tell errors apart by `code` or by class, not by message.',
  ]
  for (const entry of errorClasses(readFileSync(join(root, 'src/errors.ts'), 'utf8'))) {
    if ('section' in entry) lines.push(`## ${entry.section[0]?.toUpperCase()}${entry.section.slice(1)}`)
    else {
      const help = errorHelp[entry.code]
      if (help === undefined) throw new Error(`src/error-help.ts has no row for ${entry.code}`)
      lines.push(`### ${entry.code}`, `\`${entry.name}\`: ${entry.meaning}`, `**What to do:** ${help}`)
    }
  }
  return page(lines)
}

/** The sections and classes of src/errors.ts, in order. @param {string} source @returns {({ section: string } | { name: string, code: string, meaning: string })[]} */
export function errorClasses(source) {
  const found = []
  const pattern =
    /^\/\/ ── (.+?) ─+$|^\/\*\*((?:(?!\*\/)[\s\S])+)\*\/\nexport class (\w+)[^\n]*\{\n(?:(?!^\})[\s\S])*?code(?:: string)? = '(\w+)'/gm
  for (const [, section, comment = '', name = '', code = ''] of source.matchAll(pattern)) {
    if (section !== undefined) found.push({ section })
    else found.push({ name, code, meaning: comment.replaceAll(/\n\s*\* ?/g, ' ').trim() })
  }
  return found
}

/** @param {string} root */
async function driversOf(root) {
  const { openTransport } = await fromBuild(root, 'transports/index.js')
  const { systemClock } = await fromBuild(root, 'internal/clock.js')
  const urls = ['sqlite://', 'redis://localhost', 'amqp://localhost', 'memory://']
  return Promise.all(urls.map((url) => openTransport(url, { clock: systemClock })))
}

/** @param {string} root */
async function cliPage(root) {
  const { buildProgram } = await fromBuild(root, 'cli/program.js')
  const { exitCodes } = await fromBuild(root, 'cli/exit-codes.js')
  const program = await buildProgram('all')
  const commands = [program, ...program.commands]
  for (const command of commands) command.configureHelp({ helpWidth: 100 })
  const lines = [
    '# Command line',
    generatedNote,
    'Data goes to stdout, words for people go to stderr. With `--json`, stdout has JSON only.',
    `Exit codes: ${Object.entries(exitCodes)
      .map(([name, code]) => `${code} ${name}`)
      .join(', ')}.`,
  ]
  for (const command of commands) {
    const title = command === program ? 'celeriac' : `celeriac ${command.name()}`
    let help = ''
    command.configureOutput({ writeOut: (/** @type {string} */ text) => (help += text), getOutHasColors: () => false })
    command.outputHelp()
    lines.push(`## ${title}`, `\`\`\`text\n${help.trim()}\n\`\`\``)
  }
  return page(lines)
}

/** @param {string} root @param {string} path */
function fromBuild(root, path) {
  return import(pathToFileURL(join(root, 'dist', path)).href)
}

/** @param {string[]} blocks */
function page(blocks) {
  return `${blocks.join('\n\n')}\n`
}

/** @param {string} root @param {string} folder @returns {string[]} */
function markdownIn(root, folder) {
  if (!existsSync(join(root, folder))) return []
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.md'))
    .map((path) => join(folder, path).replaceAll('\\', '/'))
    .sort()
}

/** @param {string} root @param {{ check: boolean }} options @returns {Promise<string[]>} The paths that were stale. */
export async function updateDocs(root, { check }) {
  const stale = []
  for (const [path, text] of await makeDocs(root)) {
    const file = join(root, path)
    if (existsSync(file) && readFileSync(file, 'utf8') === text) continue
    stale.push(path)
    if (check) continue
    mkdirSync(join(file, '..'), { recursive: true })
    writeFileSync(file, text)
  }
  return stale
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = fileURLToPath(new URL('..', import.meta.url))
  const check = process.argv.includes('--check')
  const stale = await updateDocs(root, { check })
  for (const path of stale)
    console.log(check ? `${relative(process.cwd(), join(root, path))} is not current. Run: npm run docs` : `wrote ${path}`)
  if (check && stale.length > 0) process.exitCode = 1
}
