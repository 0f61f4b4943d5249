/** JSON that is written already: encoders put `text` in as it is, so that a child's result is not parsed on its way through the worker. */
export class JsonText {
  constructor(readonly text: string) {}
}
