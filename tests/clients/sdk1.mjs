// A conversation through the TypeScript SDK's first line, which speaks no version after 2025-11-25. Argument: where the server is, as JSON.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const { url, ...command } = JSON.parse(process.argv[2]);
const transport = url ? new StreamableHTTPClientTransport(new URL(url)) : new StdioClientTransport(command);
const client = new Client({ name: "sdk1", version: "1" });
await client.connect(transport);

const tools = (await client.listTools()).tools.map((tool) => tool.name);
const progress = [];
const call = { name: "generate_image", arguments: { prompt: "a red fox", seed: 7, resolution: "128x96" } };
const answer = await client.callTool(call, undefined, { onprogress: (told) => progress.push(told.progress) });
const link = answer.content.find((block) => block.type === "resource_link");
const [resource] = (await client.readResource({ uri: link.uri })).contents;
const wrong = await client.callTool({ name: "generate_image", arguments: { prompt: "a cat", nonsense: 1 } });
const prompts = (await client.listPrompts()).prompts.map((prompt) => prompt.name);
await client.close();

console.log(JSON.stringify({
  version: transport.protocolVersion ?? null, tools, progress, prompts,
  blocks: answer.content.map((block) => block.type), body: JSON.parse(answer.content[0].text),
  resource: { type: resource.mimeType, bytes: Buffer.from(resource.blob, "base64").length },
  wrong: { isError: wrong.isError, body: JSON.parse(wrong.content[0].text) },
}));
