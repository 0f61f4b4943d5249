/**
 * JSON that is written already: serializers put it in, wherever it stands in a value, so that a child's result is not parsed on its way through the worker.
 * The text is trusted: it comes from our own JSON serializer.
 */
export class JsonText {
  constructor(readonly text: string) {}
}
