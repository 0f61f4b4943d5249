import type { Command } from 'commander'
import { defineRemote } from '../remote-command.js'

interface ControlFlags {
  readonly terminate?: true
  readonly signal?: string
}

export function define(command: Command): void {
  defineRemote(
    command,
    'control',
    (control) =>
      control
        .option('--terminate', 'with revoke and revoke_by_stamped_headers: end the tasks that run, too')
        .option('--signal <name>', 'with --terminate: by this signal (default: SIGTERM)'),
    ({ terminate, signal }: ControlFlags) => ({
      ...(terminate === undefined ? {} : { terminate }),
      ...(signal === undefined ? {} : { signal }),
    }),
  )
}
