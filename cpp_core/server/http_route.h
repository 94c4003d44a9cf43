// Which route answers an HTTP request, where that is not simply the longest prefix of its bytes:
// - an absolute-form target (RFC 9112 section 3.2.2) is routed by its path;
// - HEAD goes to a GET route that claims more of the path than any HEAD route does (RFC 9110
//   section 9.3.2: what GET answers, without its body).
//
// Threads: pure functions.
#pragma once

#include "modules/route_table.h"
#include "server/exchange.h"

namespace hrmr::server {

// The route, and in `exchange` how much of the request's bytes its prefix stands for.
modules::RouteMatch match_http(const modules::RouteTable& table, Exchange& exchange);

// The answer to a request that no route takes: 404, or in HTTP, when there is a route for its
// target and another method, 405 with an Allow (RFC 9110 section 15.5.6).
void refuse_unrouted(const modules::RouteTable& table, const wire::Request& request,
                     wire::ReplyWriter& reply);

}  // namespace hrmr::server
