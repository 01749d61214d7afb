// A language model that answers at once, in OpenAI's dialect: what is measured or tested with it is not its own.

import { createServer } from 'node:http';

export const SENTENCE = 'Thank you, I have noted that down for you.';

/** Starts it; `text` says what it answers to a model's name. Gives its base URL and how to stop it. */
export async function upstream(text = () => SENTENCE) {
  const server = createServer((request, response) => {
    const pieces = [];
    request.on('data', (piece) => pieces.push(piece));
    request.on('end', () => {
      const { model } = JSON.parse(Buffer.concat(pieces).toString() || '{}');
      const chunk = (delta, finish_reason = null) =>
        `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 0, model, choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      for (const word of text(model).match(/\s*\S+/g)) response.write(chunk({ content: word }));
      response.end(`${chunk({}, 'stop')}data: [DONE]\n\n`);
    });
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  return { url: `http://127.0.0.1:${server.address().port}/v1`, stop: () => server.close() };
}
