/** Every command: its line in the help, and the file that is loaded when it is used. */
import type { Command } from 'commander'

export interface CommandEntry {
  readonly name: string
  readonly summary: string
  /** Gives the function that adds arguments, flags and the action to the command. */
  load(): Promise<(command: Command) => void>
}

export const commandTable: readonly CommandEntry[] = [
  { name: 'worker', summary: 'run tasks', load: async () => (await import('./commands/worker.js')).define },
  {
    name: 'multi',
    summary: 'start, stop and restart several workers of this host in the background',
    load: async () => (await import('./commands/multi.js')).define,
  },
  { name: 'beat', summary: 'send tasks when they are due', load: async () => (await import('./commands/beat.js')).define },
  {
    name: 'schedule',
    summary: 'show and change what beat sends: list, next, history, add, update, pause, resume, run, remove',
    load: async () => (await import('./commands/schedule.js')).define,
  },
  { name: 'call', summary: 'send a task', load: async () => (await import('./commands/call.js')).define },
  { name: 'result', summary: 'show the state and result of a task', load: async () => (await import('./commands/result.js')).define },
  { name: 'purge', summary: 'remove all waiting messages of queues', load: async () => (await import('./commands/purge.js')).define },
  {
    name: 'queues',
    summary: 'what waits in queues, who takes from them, and which are paused',
    load: async () => (await import('./commands/queues.js')).define,
  },
  {
    name: 'pause',
    summary: 'let all workers leave queues alone, those that start later too',
    load: async () => (await import('./commands/pause.js')).define,
  },
  { name: 'resume', summary: 'let workers take from paused queues again', load: async () => (await import('./commands/resume.js')).define },
  {
    name: 'dead',
    summary: 'messages that could not be run: list, show, replay, drop',
    load: async () => (await import('./commands/dead.js')).define,
  },
  {
    name: 'migrate',
    summary: 'move messages from one broker to another',
    load: async () => (await import('./commands/migrate.js')).define,
  },
  {
    name: 'doctor',
    summary: 'check the broker, the results and the workers, and say what to do about what it finds',
    load: async () => (await import('./commands/doctor.js')).define,
  },
  { name: 'inspect', summary: 'ask workers what they do', load: async () => (await import('./commands/inspect.js')).define },
  { name: 'control', summary: 'steer workers', load: async () => (await import('./commands/control.js')).define },
  { name: 'status', summary: 'which workers are online', load: async () => (await import('./commands/status.js')).define },
  {
    name: 'events',
    summary: 'watch workers and tasks: a live screen, or each event on a line',
    load: async () => (await import('./commands/events.js')).define,
  },
  {
    name: 'graph',
    summary: 'draw workers, routes, a workflow or what came of a task',
    load: async () => (await import('./commands/graph.js')).define,
  },
  { name: 'shell', summary: 'a shell with the app and its tasks', load: async () => (await import('./commands/shell.js')).define },
  { name: 'list', summary: 'bindings, queues or tasks', load: async () => (await import('./commands/list.js')).define },
  { name: 'report', summary: 'versions and options, for a bug report', load: async () => (await import('./commands/report.js')).define },
  {
    name: 'inspect-config',
    summary: 'show every option, its value and where that comes from',
    load: async () => (await import('./commands/inspect-config.js')).define,
  },
  {
    name: 'completion',
    summary: 'what bash, zsh or fish need to complete command lines',
    load: async () => (await import('./commands/completion.js')).define,
  },
]
