/** What spans are called, and which attributes they have: as Python's instrumentation has it, and as OpenTelemetry's conventions for messaging do. */
import type { Config } from '../app/config.js'
import { messagingSystem, serverOf } from './messaging-system.js'
import type { Attributes } from './otel-api.js'

/** Of those attributes of Python that the conventions have under another name. */
const pythonNames = ['messaging.destination', 'messaging.conversation_id', 'celery.action'] as const

type Operation = 'publish' | 'run'

const words = {
  python: { publish: 'apply_async', run: 'run' },
  messaging: { publish: 'send', run: 'process' },
} as const

export class Conventions {
  /** Spans are linked to what caused them, beside being below it. */
  readonly hasLinks: boolean
  readonly #given: Config['openTelemetryConventions']
  readonly #broker: Attributes

  constructor(config: Pick<Config, 'brokerUrl' | 'openTelemetryConventions'>) {
    this.#given = config.openTelemetryConventions
    this.hasLinks = this.#given !== 'python'
    this.#broker = { 'messaging.system': messagingSystem(config), ...serverOf(config) }
  }

  /** `destination` is known when a call has been sent, and not yet when its span begins. */
  spanName(operation: Operation, task: string, destination: string | undefined): string {
    const word = this.#word(operation)
    if (this.#given === 'python') return `${word}/${task}`
    return destination === undefined ? word : `${word} ${destination}`
  }

  /** Of every span and every number of an operation. */
  operation(operation: Operation): Attributes {
    return { ...this.#broker, 'messaging.operation.name': this.#word(operation) }
  }

  /** What is left of them by what was opted for. */
  chosen(attributes: Attributes): Attributes {
    if (this.#given !== 'messaging') return attributes
    const left: Record<string, Attributes[string]> = { ...attributes }
    for (const name of pythonNames) delete left[name]
    return left
  }

  #word(operation: Operation): string {
    return words[this.#given === 'python' ? 'python' : 'messaging'][operation]
  }
}
