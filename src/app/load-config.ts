/** The only place that reads the environment. Its values win over the program's own, as CELERY_BROKER_URL does in Celery. */
import { OptionUnknownError } from '../errors.js'
import { didYouMean } from '../internal/did-you-mean.js'
import { type Config, type ConfigInput, type GivenOption, givenIn, resolveGiven } from './config.js'
import { aliases, environmentNames } from './config-names.js'
import { configTable, type OptionName, rows } from './config-table.js'

export type Environment = Readonly<Record<string, string | undefined>>

/** Options of the program and of the environment, resolved. Throws OptionUnknownError and OptionInvalidError. */
export function loadConfig(input: ConfigInput = {}, environment: Environment = process.env): Config {
  return resolveGiven([...givenIn(input), ...givenInEnvironment(environment)])
}

/**
 * The options that the environment gives. An empty variable is not given. A `CELERIAC_` name that is nearly an option is an error; other unknown
 * names are somebody else's: Kubernetes sets CELERIAC_PORT for a service that is called celeriac.
 */
export function givenInEnvironment(environment: Environment = process.env): readonly GivenOption[] {
  const given: GivenOption[] = []
  const known = new Set<string>()
  for (const [option, row] of rows) {
    const { readText } = row.kind
    if (readText === undefined) continue
    const names = namesOf(option)
    for (const name of names) known.add(name)
    const name = names.find((candidate) => (environment[candidate] ?? '') !== '')
    if (name !== undefined) given.push({ option, value: readText(environment[name] ?? ''), spelling: name })
  }
  const conventions = semconvOptIn(environment[optIn])
  if (conventions !== undefined && !given.some(({ option }) => option === 'openTelemetryConventions'))
    given.push({ option: 'openTelemetryConventions', value: conventions, spelling: optIn })
  const ours = [...known].filter((name) => name.startsWith('CELERIAC_'))
  for (const name of Object.keys(environment)) {
    if (!name.startsWith('CELERIAC_') || known.has(name) || isOther(name)) continue
    const near = didYouMean(name, ours, { atMost: 2 })
    if (near !== undefined) throw new OptionUnknownError(name, near)
  }
  return given
}

/**
 * Gives options to the apps that this process and its children load from now on: how command line flags reach them. Values are text, as in a shell;
 * they are checked when an app is made.
 */
export function setInEnvironment(
  options: Partial<Record<OptionName, string>>,
  environment: Record<string, string | undefined> = process.env,
): void {
  for (const [option, text] of Object.entries(options)) {
    if (option in configTable && text !== undefined) environment[environmentNames(option)[0]] = text
  }
}

/** `CELERIAC_APP` or `CELERY_APP`: what `-A` names when it is not given. */
export function appFromEnvironment(environment: Environment = process.env): string | undefined {
  return environment.CELERIAC_APP || environment.CELERY_APP || undefined
}

const optIn = 'OTEL_SEMCONV_STABILITY_OPT_IN'

/** A list for all instrumentations of a process, of which those of messaging concern us; with both, the careful one counts. */
function semconvOptIn(text = ''): string | undefined {
  const words = text.split(',').map((word) => word.trim().toLowerCase())
  return ['messaging/dup', 'messaging'].find((word) => words.includes(word))
}

/** Names that Celery has for some beside those that follow from the option's. */
const otherNames: Partial<Record<OptionName, string>> = { workerRemapSigterm: 'REMAP_SIGTERM' }

function namesOf(option: OptionName): readonly string[] {
  const other = otherNames[option]
  const short = Object.entries(aliases).filter(([, full]) => full === option)
  const [ours, celerys] = environmentNames(option)
  return [ours, ...short.map(([alias]) => environmentNames(alias)[0]), celerys, ...(other === undefined ? [] : [other])]
}

/** Variables that start as our options do and are none. */
function isOther(name: string): boolean {
  return name === 'CELERIAC_APP' || /^CELERIAC_(PORT|SERVICE)(_|$)/.test(name)
}
