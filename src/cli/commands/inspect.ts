import type { Command } from 'commander'
import { defineRemote } from '../remote-command.js'

interface InspectFlags {
  readonly safe?: true
}

export function define(command: Command): void {
  defineRemote(
    command,
    'inspect',
    (inspect) => inspect.option('--safe', 'with active: arguments as the texts that their senders made for logs'),
    ({ safe }: InspectFlags) => (safe === true ? { safe } : {}),
  )
}
