// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The functions of UCP's that take a buffer: each looks first (monitor.c).
 */
#include <ucp/api/ucp.h>
#include "ucx.h"

#define looks_first(type, name, params, args)					\
exported type name params							\
{										\
	static typeof(name) *theirs;						\
	typeof(name) *call = __atomic_load_n(&theirs, __ATOMIC_RELAXED);	\
										\
	if (!call) {								\
		call = ucx_symbol("libucp.so.0", #name);			\
		__atomic_store_n(&theirs, call, __ATOMIC_RELAXED);		\
	}									\
	look();									\
	return call args;							\
}
#define PARAM const ucp_request_param_t *param

looks_first(ucs_status_t, ucp_mem_map,
	    (ucp_context_h context, const ucp_mem_map_params_t *params, ucp_mem_h *memh),
	    (context, params, memh))
looks_first(ucs_status_ptr_t, ucp_tag_send_nbx,
	    (ucp_ep_h ep, const void *buffer, size_t count, ucp_tag_t tag, PARAM),
	    (ep, buffer, count, tag, param))
looks_first(ucs_status_ptr_t, ucp_tag_send_sync_nbx,
	    (ucp_ep_h ep, const void *buffer, size_t count, ucp_tag_t tag, PARAM),
	    (ep, buffer, count, tag, param))
looks_first(ucs_status_ptr_t, ucp_tag_recv_nbx,
	    (ucp_worker_h worker, void *buffer, size_t count, ucp_tag_t tag, ucp_tag_t mask, PARAM),
	    (worker, buffer, count, tag, mask, param))
looks_first(ucs_status_ptr_t, ucp_tag_msg_recv_nbx,
	    (ucp_worker_h worker, void *buffer, size_t count, ucp_tag_message_h message, PARAM),
	    (worker, buffer, count, message, param))
looks_first(ucs_status_ptr_t, ucp_am_send_nbx,
	    (ucp_ep_h ep, unsigned int id, const void *header, size_t header_length,
	     const void *buffer, size_t count, PARAM),
	    (ep, id, header, header_length, buffer, count, param))
looks_first(ucs_status_ptr_t, ucp_am_recv_data_nbx,
	    (ucp_worker_h worker, void *desc, void *buffer, size_t count, PARAM),
	    (worker, desc, buffer, count, param))
looks_first(ucs_status_ptr_t, ucp_stream_send_nbx,
	    (ucp_ep_h ep, const void *buffer, size_t count, PARAM), (ep, buffer, count, param))
looks_first(ucs_status_ptr_t, ucp_stream_recv_nbx,
	    (ucp_ep_h ep, void *buffer, size_t count, size_t *length, PARAM),
	    (ep, buffer, count, length, param))
looks_first(ucs_status_ptr_t, ucp_put_nbx,
	    (ucp_ep_h ep, const void *buffer, size_t count, uint64_t remote, ucp_rkey_h rkey, PARAM),
	    (ep, buffer, count, remote, rkey, param))
looks_first(ucs_status_ptr_t, ucp_get_nbx,
	    (ucp_ep_h ep, void *buffer, size_t count, uint64_t remote, ucp_rkey_h rkey, PARAM),
	    (ep, buffer, count, remote, rkey, param))

/* The same, as older programs say it. */

looks_first(ucs_status_t, ucp_put,
	    (ucp_ep_h ep, const void *buffer, size_t length, uint64_t remote, ucp_rkey_h rkey),
	    (ep, buffer, length, remote, rkey))
looks_first(ucs_status_t, ucp_get,
	    (ucp_ep_h ep, void *buffer, size_t length, uint64_t remote, ucp_rkey_h rkey),
	    (ep, buffer, length, remote, rkey))
looks_first(ucs_status_t, ucp_put_nbi,
	    (ucp_ep_h ep, const void *buffer, size_t length, uint64_t remote, ucp_rkey_h rkey),
	    (ep, buffer, length, remote, rkey))
looks_first(ucs_status_t, ucp_get_nbi,
	    (ucp_ep_h ep, void *buffer, size_t length, uint64_t remote, ucp_rkey_h rkey),
	    (ep, buffer, length, remote, rkey))
looks_first(ucs_status_ptr_t, ucp_put_nb,
	    (ucp_ep_h ep, const void *buffer, size_t length, uint64_t remote, ucp_rkey_h rkey,
	     ucp_send_callback_t cb),
	    (ep, buffer, length, remote, rkey, cb))
looks_first(ucs_status_ptr_t, ucp_get_nb,
	    (ucp_ep_h ep, void *buffer, size_t length, uint64_t remote, ucp_rkey_h rkey,
	     ucp_send_callback_t cb),
	    (ep, buffer, length, remote, rkey, cb))
looks_first(ucs_status_ptr_t, ucp_am_send_nb,
	    (ucp_ep_h ep, uint16_t id, const void *buffer, size_t count, ucp_datatype_t datatype,
	     ucp_send_callback_t cb, unsigned int flags),
	    (ep, id, buffer, count, datatype, cb, flags))
looks_first(ucs_status_ptr_t, ucp_stream_send_nb,
	    (ucp_ep_h ep, const void *buffer, size_t count, ucp_datatype_t datatype,
	     ucp_send_callback_t cb, unsigned int flags),
	    (ep, buffer, count, datatype, cb, flags))
looks_first(ucs_status_ptr_t, ucp_stream_recv_nb,
	    (ucp_ep_h ep, void *buffer, size_t count, ucp_datatype_t datatype,
	     ucp_stream_recv_callback_t cb, size_t *length, unsigned int flags),
	    (ep, buffer, count, datatype, cb, length, flags))
looks_first(ucs_status_ptr_t, ucp_tag_send_nb,
	    (ucp_ep_h ep, const void *buffer, size_t count, ucp_datatype_t datatype, ucp_tag_t tag,
	     ucp_send_callback_t cb),
	    (ep, buffer, count, datatype, tag, cb))
looks_first(ucs_status_t, ucp_tag_send_nbr,
	    (ucp_ep_h ep, const void *buffer, size_t count, ucp_datatype_t datatype, ucp_tag_t tag,
	     void *request),
	    (ep, buffer, count, datatype, tag, request))
looks_first(ucs_status_ptr_t, ucp_tag_send_sync_nb,
	    (ucp_ep_h ep, const void *buffer, size_t count, ucp_datatype_t datatype, ucp_tag_t tag,
	     ucp_send_callback_t cb),
	    (ep, buffer, count, datatype, tag, cb))
looks_first(ucs_status_ptr_t, ucp_tag_recv_nb,
	    (ucp_worker_h worker, void *buffer, size_t count, ucp_datatype_t datatype,
	     ucp_tag_t tag, ucp_tag_t mask, ucp_tag_recv_callback_t cb),
	    (worker, buffer, count, datatype, tag, mask, cb))
looks_first(ucs_status_t, ucp_tag_recv_nbr,
	    (ucp_worker_h worker, void *buffer, size_t count, ucp_datatype_t datatype,
	     ucp_tag_t tag, ucp_tag_t mask, void *request),
	    (worker, buffer, count, datatype, tag, mask, request))
looks_first(ucs_status_ptr_t, ucp_tag_msg_recv_nb,
	    (ucp_worker_h worker, void *buffer, size_t count, ucp_datatype_t datatype,
	     ucp_tag_message_h message, ucp_tag_recv_callback_t cb),
	    (worker, buffer, count, datatype, message, cb))
