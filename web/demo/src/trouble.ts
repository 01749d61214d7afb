// What can go wrong before or in a call, in words that a person can act on.

/** What the page offers beside the words. */
export type Remedy = "again" | "key" | "type" | "none";

export class Trouble extends Error {
    constructor(
        readonly title: string,
        message: string,
        readonly remedy: Remedy,
        /** Whether another transport may fare better. */
        readonly otherwise = false,
    ) {
        super(message);
    }
}

/** Why there is no microphone. */
export function ofMicrophone(error: unknown): Trouble {
    const name = error instanceof DOMException ? error.name : "";
    switch (name) {
        case "NotAllowedError":
        case "SecurityError":
            return new Trouble("The microphone is blocked", "Allow it for this page beside the address, then press again. Or type below.", "again");
        case "NotFoundError":
        case "OverconstrainedError":
            return new Trouble("No microphone was found", "Plug one in or switch it on, then press again. Or type below.", "again");
        case "NotReadableError":
        case "AbortError":
            return new Trouble("The microphone is in use", "Close the program that holds it, then press again. Or type below.", "again");
        default:
            return new Trouble("The microphone cannot be used", `The browser says: ${String(error)}. You can type below.`, "again");
    }
}

/** A browser gives a page its microphone only where nobody can listen in between. */
export function insecure(): Trouble {
    const port = location.port ? `:${location.port}` : "";
    const text = `Browsers allow it over https:// and on this machine only: open http://localhost${port} where the server runs, or put TLS in front. Or type below.`;
    return new Trouble("No microphone at this address", text, "type");
}

/** What the server's refusal means. */
export async function ofAnswer(answer: Response): Promise<Trouble> {
    const body: { error?: { message?: string } } = await answer.json().catch(() => ({}));
    const said = body.error?.message ?? `The server answered ${answer.status}.`;
    switch (answer.status) {
        case 401:
        case 403:
            return new Trouble("This server asks for a key", answer.status === 401 ? "Enter one, and the call begins." : said, answer.status === 401 ? "key" : "none");
        case 429: {
            const wait = Number(answer.headers.get("retry-after")) || 0;
            return new Trouble("The server is busy", wait ? `${said} It asks for ${wait} s.` : said, "again");
        }
        case 501:
            return new Trouble("Not on this server", said, "none", true);
        default:
            return new Trouble("The call was refused", said, "again", answer.status >= 500);
    }
}

export function unreachable(): Trouble {
    return new Trouble("The server does not answer", `Is it still running at ${location.host}? Press to try again.`, "again");
}

/** Any error as one of these. */
export function ofAny(error: unknown): Trouble {
    if (error instanceof Trouble) return error;
    if (error instanceof TypeError && /fetch|network/i.test(error.message)) return unreachable();
    return new Trouble("The call did not begin", error instanceof Error ? error.message : String(error), "again");
}
