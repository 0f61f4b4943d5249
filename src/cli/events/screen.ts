/** The live screen as data: what is on it, and what a key changes. Drawing it on a terminal is live.ts' business. */
import type { ClusterState, TaskView } from '../../events/cluster-state.js'
import { table, taskCells, taskHeadings, workerCells, workerHeadings } from './lines.js'

export interface Size {
  readonly columns: number
  readonly rows: number
}

/** What the terminal is to do after a key. */
export type Action =
  | { readonly do: 'quit' }
  | { readonly do: 'revoke'; readonly uuid: string }
  | { readonly do: 'rate limit'; readonly task: string; readonly rate: string }
  | { readonly do: 'enable events' }

type Overlay = { readonly title: string; readonly text: string }
type Prompt = { readonly question: string; readonly answer: string; readonly then: (answer: string) => Action | undefined }

const keyHelp = 'j/k move  i info  r result  t traceback  c revoke  l rate limit  e events on  ? help  q quit'

const help = [
  'j, k, ↓, ↑    move over the tasks',
  'i, Enter      all that is known of the task',
  'r             its result, or what it has thrown',
  't             its traceback',
  'c             revoke it',
  'l             change the rate limit of its name, on every worker',
  'e             let every worker send task events (as -E)',
  'q, Ctrl-C     quit; q and Esc also close what is open',
].join('\n')

/** The keys of what a terminal has sent at once: arrows are three characters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: terminals send them
export const keysOf = (sent: string): readonly string[] => sent.match(/\u001b\[[A-Za-z]|[\s\S]/g) ?? []

/** The state of the screen over that of the cluster. */
export class Screen {
  readonly #state: ClusterState
  /** The task that is selected, or the first when it is gone. */
  #selected: string | undefined
  #overlay: Overlay | undefined
  #prompt: Prompt | undefined
  /** What happened to the last action. */
  note = ''

  constructor(state: ClusterState) {
    this.#state = state
  }

  /** Lines without styles, one for each row of the terminal. */
  lines({ columns, rows }: Size): readonly string[] {
    const body = this.#overlay === undefined ? this.#overview(rows - 2) : overlayLines(this.#overlay, rows - 2)
    const foot = this.#prompt === undefined ? this.note || keyHelp : `${this.#prompt.question} ${this.#prompt.answer}_`
    const shown = body.slice(0, rows - 2)
    while (shown.length < rows - 2) shown.push('')
    return [this.#head(), ...shown, foot].map((line) => cut(line, columns))
  }

  /** `key` as a terminal sends it. */
  press(key: string): Action | undefined {
    if (key === '\u0003') return { do: 'quit' }
    if (this.#prompt !== undefined) return this.#type(this.#prompt, key)
    this.note = ''
    if (this.#overlay !== undefined) {
      this.#overlay = undefined
      return undefined
    }
    const task = this.#task()
    switch (key) {
      case 'q':
        return { do: 'quit' }
      case 'j':
      case '\u001b[B':
        return this.#move(1)
      case 'k':
      case '\u001b[A':
        return this.#move(-1)
      case '?':
        return this.#open('Keys', help)
      case 'e':
        return { do: 'enable events' }
      case 'i':
      case '\r':
        return task && this.#open(`Task ${task.uuid}`, facts(task))
      case 'r':
        return task && this.#open(`Result of ${task.uuid}`, task.exception ?? task.result ?? 'none is known')
      case 't':
        return task && this.#open(`Traceback of ${task.uuid}`, task.traceback ?? 'none is known')
      case 'c':
        return (
          task &&
          this.#ask(`Revoke ${task.name ?? 'task'}[${task.uuid}]? [y/N]`, (answer) =>
            /^y(es)?$/i.test(answer) ? { do: 'revoke', uuid: task.uuid } : undefined,
          )
        )
      case 'l': {
        const name = task?.name
        return name === undefined
          ? undefined
          : this.#ask(`Rate limit of ${name} (10/s, 5/m, 1/h; 0 is none):`, (rate) =>
              rate === '' ? undefined : { do: 'rate limit', task: name, rate },
            )
      }
      default:
        return undefined
    }
  }

  #head(): string {
    const workers = this.#state.workers()
    const alive = workers.filter(({ isAlive }) => isAlive).length
    const counts = Object.entries(this.#state.counts()).map(([state, count]) => `${state.toLowerCase()} ${count}`)
    return [`workers ${alive}/${workers.length}`, `events ${this.#state.eventCount}`, ...counts].join('  ·  ')
  }

  #overview(rows: number): string[] {
    const workers = this.#state.workers()
    const half = Math.max(2, Math.floor(rows / 2))
    const workerLines = table(workerHeadings, workers.slice(0, half - 1).map(workerCells))
    const left = Math.max(2, rows - workerLines.length - 1)
    const tasks = this.#state.tasks({ limit: 1_000 })
    const at = Math.max(
      0,
      tasks.findIndex(({ uuid }) => uuid === this.#selected),
    )
    const from = Math.max(0, Math.min(at - Math.floor(left / 2), tasks.length - (left - 1)))
    const shown = tasks.slice(from, from + left - 1)
    const [heading = '', ...taskLines] = table(taskHeadings, shown.map(taskCells))
    const marked = taskLines.map((line, index) => `${from + index === at ? '>' : ' '} ${line}`)
    if (tasks.length === 0) marked.push('  no task was heard of: workers tell of them with -E; e lets all of them do so')
    return [...workerLines, '', `  ${heading}`, ...marked]
  }

  #task(): TaskView | undefined {
    const selected = this.#selected === undefined ? undefined : this.#state.task(this.#selected)
    return selected ?? this.#state.tasks({ limit: 1 })[0]
  }

  #move(by: number): undefined {
    const tasks = this.#state.tasks({ limit: 1_000 })
    const at = Math.max(
      0,
      tasks.findIndex(({ uuid }) => uuid === this.#selected),
    )
    this.#selected = tasks[Math.max(0, Math.min(tasks.length - 1, at + by))]?.uuid
  }

  #open(title: string, text: string): undefined {
    this.#overlay = { title, text }
  }

  #ask(question: string, then: Prompt['then']): undefined {
    this.#prompt = { question, answer: '', then }
  }

  #type(prompt: Prompt, key: string): Action | undefined {
    if (key === '\r' || key === '\u001b') {
      this.#prompt = undefined
      return key === '\r' ? prompt.then(prompt.answer.trim()) : undefined
    }
    const answer =
      key === '\u007f' || key === '\b' ? prompt.answer.slice(0, -1) : /^[\x20-\x7e]+$/.test(key) ? prompt.answer + key : prompt.answer
    this.#prompt = { ...prompt, answer }
    return undefined
  }
}

function overlayLines({ title, text }: Overlay, rows: number): string[] {
  return [title, '', ...text.split('\n')].slice(0, rows)
}

function facts(task: TaskView): string {
  const { times, ...rest } = task
  const lines = Object.entries(rest)
    .filter(([key]) => key !== 'traceback')
    .map(([key, value]) => `${key.padEnd(10)} ${String(value)}`)
  const when = Object.entries(times).map(([event, seconds]) => `${event.padEnd(10)} ${new Date(seconds * 1000).toISOString()}`)
  return [...lines, '', ...when].join('\n')
}

/** What comes from the wire may hold anything: control characters would move the cursor. */
function cut(line: string, columns: number): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it takes out
  const plain = line.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, ' ')
  return plain.length > columns ? `${plain.slice(0, Math.max(0, columns - 1))}…` : plain
}
