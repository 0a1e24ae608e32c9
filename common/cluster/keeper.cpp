#include "common/cluster/keeper.h"

#include <sys/socket.h>

#include <future>
#include <optional>
#include <utility>

#include "common/base/error.h"
#include "common/cluster/keeper_wire.h"
#include "common/net/asio.h"

namespace sheaf::cluster {
namespace {

using Local = net::asio::local::stream_protocol;
using LocalSocket = net::asio::basic_stream_socket<Local, net::Executor>;

// An abstract address (its first byte is 0): in no file system, and gone with its socket. Derived
// from the key, so that jobs do not meet and strangers cannot guess it.
Local::endpoint address(const wire::JobKey& key) {
  constexpr std::string_view kLabel = "sheaf keeper 1";
  const wire::Digest digest = wire::hmac_sha256(key, std::as_bytes(std::span(kLabel)));
  std::string path(1, '\0');
  path += "sheaf-";
  for (const std::byte b : std::span(digest).first(16)) path += fmt::format("{:02x}", b);
  return Local::endpoint(path);
}

}  // namespace

// ---- the keeper ---------------------------------------------------------------------------------

struct Keeper::State {
  State(const net::Credentials& c, Duration l, KeeperStore::Reserve reserve)
      : credentials(c),
        limit(l),
        acceptor(context),
        store(context, std::move(reserve)),
        unused(context) {}

  net::Task<void> accept_loop() {
    while (true) {
      LocalSocket socket(context);
      net::ErrorCode error;
      co_await acceptor.async_accept(socket,
                                     net::asio::redirect_error(net::asio::use_awaitable, error));
      if (error == net::asio::error::operation_aborted) co_return;  // closed
      if (error) {  // no descriptor left, perhaps: there may be one later
        net::asio::steady_timer pause(context, std::chrono::milliseconds(50));
        co_await pause.async_wait(net::asio::redirect_error(net::asio::use_awaitable, error));
        continue;
      }
      net::asio::co_spawn(context, serve(std::move(socket)), [](std::exception_ptr) {});
    }
  }

  // A client that leaves or breaks the rules is forgotten; what it put stays.
  net::Task<void> serve(LocalSocket socket) {
    const int fd = socket.native_handle();
    net::Connection connection(net::Socket(std::move(socket)), "a process of this host");
    try {
      co_await net::receive_greeting(
          connection, credentials,
          [this](const wire::Identity& client) {
            return client.epoch == credentials.self.epoch ? wire::Verdict::welcome
                                                          : wire::Verdict::stale;
          },
          limit);
      const Visit visit(*this);
      while (true) {
        const bool open = co_await connection.readable();
        if (!open) break;
        KeeperRequest request;
        net::Descriptor given;
        if (!receive_message(fd, &request, sizeof request, given, limit)) break;
        KeeperAnswer answer;
        net::Descriptor result;
        try {
          result = co_await grant(request, std::move(given));
        } catch (const Error& error) {
          answer.fault = static_cast<std::uint32_t>(error.fault());
          set_text(answer.text, error.message());
        }
        send_message(fd, &answer, sizeof answer, result);
      }
    } catch (const Error&) {
    }
  }

  net::Task<net::Descriptor> grant(KeeperRequest request, net::Descriptor given) {
    const std::string name = get_text(request.name);
    switch (request.wish) {
      case KeeperWish::memory: co_return co_await store.memory(name, request.bytes);
      case KeeperWish::get: co_return store.get(name);
      case KeeperWish::put: store.put(name, std::move(given)); break;
      case KeeperWish::forget: store.forget(name); break;
      case KeeperWish::end: finish();
    }
    co_return net::Descriptor();
  }

  // Counts those who are connected.
  struct Visit {
    explicit Visit(State& s) : state(s) {
      ++state.visitors;
      state.unused.cancel();
    }
    ~Visit() {
      if (--state.visitors == 0) state.await_visitors();
    }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    State& state;
  };
  void await_visitors() {
    if (!idle) return;
    unused.expires_after(*idle);
    unused.async_wait([this](const net::ErrorCode& cancelled) {
      if (!cancelled && visitors == 0) finish();
    });
  }
  void finish() {
    if (!std::exchange(is_over, true)) over.set_value();
  }

  const net::Credentials credentials;
  const Duration limit;
  net::asio::io_context context{1};
  net::asio::basic_socket_acceptor<Local, net::Executor> acceptor;
  KeeperStore store;
  std::size_t visitors = 0;
  std::optional<Duration> idle;  // somebody waits for it to be over
  bool is_over = false;
  std::promise<void> over;
  net::asio::steady_timer unused;
};

std::unique_ptr<Keeper> Keeper::start(const net::Credentials& credentials, Duration limit,
                                      KeeperStore::Reserve reserve) {
  auto state = std::make_unique<State>(credentials, limit, std::move(reserve));
  net::ErrorCode error;
  const Local::endpoint endpoint = address(credentials.key);
  state->acceptor.open(endpoint.protocol());
  state->acceptor.bind(endpoint, error);
  if (error) return nullptr;
  state->acceptor.listen();
  return std::unique_ptr<Keeper>(new Keeper(std::move(state)));
}

Keeper::Keeper(std::unique_ptr<State> state) : state_(std::move(state)) {
  net::asio::co_spawn(state_->context, state_->accept_loop(), [](std::exception_ptr) {});
  thread_ = std::thread([s = state_.get()] { s->context.run(); });
}

void Keeper::serve(Duration idle) {
  net::asio::post(state_->context, [s = state_.get(), idle] {
    s->idle = idle;
    if (s->visitors == 0) s->await_visitors();
  });
  state_->over.get_future().wait();
}

Keeper::~Keeper() {
  state_->context.stop();
  thread_.join();
}

// ---- a client -----------------------------------------------------------------------------------

struct KeeperClient::State {
  explicit State(Duration l) : limit(l) {}

  net::Task<void> join(const net::Credentials& credentials) {
    co_await net::greet(*connection, credentials, {}, limit);  // any server may be the keeper
  }

  net::Descriptor ask(KeeperWish wish, const std::string& name, std::size_t bytes,
                      const net::Descriptor& given);

  const Duration limit;
  net::asio::io_context context{1};
  int fd = -1;
  bool broken = false;  // an answer is outstanding that would be taken for the next one's
  std::optional<net::Connection> connection;
};

KeeperClient::KeeperClient(const net::Credentials& credentials, Duration limit)
    : state_(std::make_unique<State>(limit)) {
  LocalSocket socket(state_->context);
  net::ErrorCode error;
  socket.connect(address(credentials.key), error);
  if (error) {
    fail(Fault::network, "the keeper of this host's shared memory cannot be reached: {}",
         error.message());
  }
  state_->fd = socket.native_handle();
  state_->connection.emplace(net::Socket(std::move(socket)), "the keeper of this host");
  std::exception_ptr failure;
  net::asio::co_spawn(state_->context, state_->join(credentials),
                      [&](std::exception_ptr e) { failure = e; });
  state_->context.run();
  if (failure) std::rethrow_exception(failure);
}

KeeperClient::~KeeperClient() = default;

net::Descriptor KeeperClient::State::ask(KeeperWish wish, const std::string& name,
                                         std::size_t bytes, const net::Descriptor& given) {
  if (std::exchange(broken, true)) {
    fail(Fault::network, "the keeper of this host's shared memory has failed to answer before");
  }
  KeeperRequest request;
  request.wish = wish;
  request.bytes = bytes;
  set_text(request.name, name);
  send_message(fd, &request, sizeof request, given);
  KeeperAnswer answer;
  net::Descriptor result;
  if (!receive_message(fd, &answer, sizeof answer, result, limit)) {
    fail(Fault::network, "the keeper of this host's shared memory has left");
  }
  broken = false;
  if (answer.fault != 0) fail(static_cast<Fault>(answer.fault), "{}", get_text(answer.text));
  return result;
}

net::SharedMemory KeeperClient::memory(const std::string& name, std::size_t bytes,
                                       net::SharedMemory::Access access) {
  const std::lock_guard lock(mutex_);
  return net::SharedMemory::map(state_->ask(KeeperWish::memory, name, bytes, {}), bytes, access);
}

void KeeperClient::put(const std::string& name, const net::Descriptor& descriptor) {
  const std::lock_guard lock(mutex_);
  state_->ask(KeeperWish::put, name, 0, descriptor);
}

net::Descriptor KeeperClient::get(const std::string& name) {
  const std::lock_guard lock(mutex_);
  return state_->ask(KeeperWish::get, name, 0, {});
}

void KeeperClient::forget(const std::string& beginning) {
  const std::lock_guard lock(mutex_);
  state_->ask(KeeperWish::forget, beginning, 0, {});
}

void KeeperClient::end() {
  const std::lock_guard lock(mutex_);
  state_->ask(KeeperWish::end, {}, 0, {});
}

void KeeperClient::interrupt() { ::shutdown(state_->fd, SHUT_RDWR); }

}  // namespace sheaf::cluster
